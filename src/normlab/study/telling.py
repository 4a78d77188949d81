"""From an engine's messages to the events of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from normlab.records import EpochRecord
from normlab.study.engines import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    Started,
    Unit,
)
from normlab.study.events import (
    EpochEnded,
    Event,
    Listener,
    RunBegan,
    RunWaits,
    TrialEnded,
    TrialPutBack,
    TrialStarted,
    TrialTakenOver,
)
from normlab.study.plan import Plan


def nobody(_: Event) -> None:
    """A listener that pays no attention."""


class Telling:
    """Tells a listener what an engine did, with arms and seeds in place of ids."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.study, self.trials, self.listener = plan.study.name, plan.trials, listener
        self.last: dict[str, EpochRecord] = {}
        self.has_begun = self.has_waited = False

    def begin(self, units: Sequence[Unit], workers: int) -> None:
        """Tell how much there is to train."""
        self.has_begun = True
        self.listener(
            RunBegan(
                study=self.study,
                trials=sum(map(len, units)),
                epochs=sum(task.recipe.epochs for unit in units for task in unit),
                workers=workers,
                together=max(map(len, units), default=1),
            )
        )

    def wait(self, trials: int) -> None:
        """Tell, once, that so many trials are in the hands of other runs."""
        if not self.has_waited:
            self.has_waited = True
            self.listener(RunWaits(study=self.study, trials=trials))

    def take_over(self, trial_id: str) -> None:
        """Tell that another run took a trial over."""
        self.last.pop(trial_id, None)
        self.listener(TrialTakenOver(**self._names(trial_id)))

    def tell(self, message: Message) -> None:
        """Tell one message, after it is stored; how a trial computes is no event."""
        if not isinstance(message, Placed):
            self.listener(self._event(message))

    def _names(self, trial_id: str) -> dict[str, Any]:
        trial = self.trials[trial_id]
        return {
            "id": trial.id,
            "arm": trial.arm.label,
            "seed": trial.seed,
            "planned_epochs": trial.arm.recipe.epochs,
        }

    def _event(self, message: Started | EpochTrained | Ended | Failed | Faulted) -> Event:
        trial, its = self.trials[message.trial_id], self._names(message.trial_id)
        match message:
            case Started():
                return TrialStarted(**its, epochs=message.epochs, anew=message.anew)
            case EpochTrained():
                self.last[trial.id] = message.record
                return EpochEnded(**its, record=message.record)
            case Faulted():
                return TrialPutBack(**its, reason=message.reason)
        last = self.last.pop(trial.id, None)
        accuracy = None if last is None else last.test_accuracy
        match message:
            case Ended(result=result):
                return TrialEnded(
                    **its,
                    state=result.state,
                    epochs=result.epochs,
                    test_accuracy=accuracy,
                    reason=result.reason or "",
                )
            case Failed():
                return TrialEnded(
                    **its,
                    state="failed",
                    epochs=0 if last is None else last.epoch,
                    test_accuracy=accuracy,
                    reason=message.reason.strip().splitlines()[-1],
                )
