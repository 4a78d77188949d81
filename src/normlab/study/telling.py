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
    TrialEnded,
    TrialPutBack,
    TrialStarted,
)
from normlab.study.plan import Plan


def nobody(_: Event) -> None:
    """A listener that pays no attention."""


class Telling:
    """Tells a listener what an engine did, with arms and seeds in place of ids."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.study, self.trials, self.listener = plan.study.name, plan.trials, listener
        self.last: dict[str, EpochRecord] = {}

    def begin(self, units: Sequence[Unit], workers: int) -> None:
        """Tell how much there is to train."""
        self.listener(
            RunBegan(
                study=self.study,
                trials=sum(map(len, units)),
                epochs=sum(task.recipe.epochs for unit in units for task in unit),
                workers=workers,
                together=max(map(len, units), default=1),
            )
        )

    def tell(self, message: Message) -> None:
        """Tell one message, after it is stored; how a trial computes is no event."""
        if not isinstance(message, Placed):
            self.listener(self._event(message))

    def _event(self, message: Started | EpochTrained | Ended | Failed | Faulted) -> Event:
        trial = self.trials[message.trial_id]
        its: dict[str, Any] = {
            "id": trial.id,
            "arm": trial.arm.label,
            "seed": trial.seed,
            "planned_epochs": trial.arm.recipe.epochs,
        }
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
