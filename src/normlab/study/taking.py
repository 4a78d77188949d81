"""What a run does with the messages of its engine: the store's one writer."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from normlab.errors import MachineError
from normlab.records import EpochRecord
from normlab.store import Store, TakenOverError
from normlab.study.engines import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    Started,
    Task,
)
from normlab.study.summary import Summary


class Taking:
    """Takes what an engine sends and stores it.

    Attributes:
        store: Where.
        running: Trials that were taken up and have not ended.
        ended: How many came to their end.
        put_down: Ids of trials that this run does not take up again: the machine could not train
            them.
        away: Ids of trials that another run took over while an engine here still trains them.
        last: By trial, a last epoch without a checkpoint, which is stored together with the end:
            an epoch that is stored is never trained again.
    """

    def __init__(
        self,
        store: Store,
        tasks: Sequence[Task],
        lost: AbstractSet[str],
        foreign: AbstractSet[str],
        summary: Summary,
    ):
        self.store, self.lost, self.foreign, self.summary = store, lost, foreign, summary
        self.checkpoints = {task.trial_id: task.checkpoint for task in tasks}
        self.running: set[str] = set()
        self.ended = 0
        self.put_down: set[str] = set()
        self.away: set[str] = set()
        self.places: dict[str, dict[str, object]] = {}
        self.records: dict[str, dict[int, EpochRecord]] = {}
        self.last: dict[str, EpochRecord] = {}

    def take(self, message: Message) -> bool:
        """Store one message; whether its trial is still this run's: otherwise nothing is stored.

        Raises:
            MachineError: No trial can go on.
        """
        trial = message.trial_id
        try:
            self._take(message)
        except TakenOverError:
            self.summary.taken_over.add(trial)
            self.away.add(trial)
            self.running.discard(trial)
            return False
        return True

    def _take(self, message: Message) -> None:
        trial = message.trial_id
        if isinstance(message, Started) and message.anew:
            self.summary.anew[trial] = message.anew
        if isinstance(message, Faulted):
            if not message.may_help_alone:
                raise self.stop(message.reason)
            self.summary.put_back[trial] = message.reason
            self.put_down.add(trial)
            self.store.release([trial])
        elif trial in self.lost:
            self._mend(message)
        else:
            self._keep(message)
        if isinstance(message, Started | Ended | Failed | Faulted):
            self.last.pop(trial, None)
        if isinstance(message, Ended | Failed | Faulted):
            self.running.discard(trial)
            self.ended += not isinstance(message, Faulted)
        if isinstance(message, Ended):
            # Its row and its files are on the disk: only now nobody needs it any more.
            self.checkpoints[trial].unlink(missing_ok=True)

    def stop(self, reason: str) -> MachineError:
        """What a run says that the machine stopped."""
        trials = "1 trial" if self.ended == 1 else f"{self.ended} trials"
        return MachineError(
            f"stopped after {trials}: {reason}. Finished trials and whole epochs are stored; when "
            "that is mended, the same command goes on"
        )

    def _keep(self, message: Message) -> None:
        match message:
            case Started():
                self.running.add(message.trial_id)
                self.store.start(message.trial_id, message.provenance, message.epochs)
            case Placed():
                self.store.place(message.trial_id, message.provenance)
            case EpochTrained(is_kept=False):
                self.last[message.trial_id] = message.record
            case EpochTrained():
                self.store.add_epoch(message.trial_id, message.record)
            case Ended():
                last = self.last.get(message.trial_id)
                self.store.finish(message.trial_id, message.result, message.artifacts, last=last)
            case Failed():
                last = self.last.get(message.trial_id)
                self.store.fail(message.trial_id, message.reason, last=last)

    def _mend(self, message: Message) -> None:
        """A finished trial is trained again: its row changes only when it ended."""
        trial = message.trial_id
        match message:
            case Started():
                self.places[trial], self.records[trial] = message.provenance, {}
            case Placed():
                self.places[trial] = message.provenance
            case EpochTrained():
                self.records[trial][message.record.epoch] = message.record
            case Ended():
                again = self.summary.replaced if trial in self.foreign else self.summary.mended
                again[trial] = self.store.mend(
                    trial,
                    self.places[trial],
                    self.records[trial].values(),
                    message.result,
                    message.artifacts,
                    whole=trial in self.foreign,
                )
            case Failed():
                self.summary.not_mended[trial] = message.reason.strip().splitlines()[-1]
