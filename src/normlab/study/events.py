"""What a run tells while it goes on: typed events, for progress bars and for functions of yours.

`normlab.run` calls its `progress` with each of them, in the process that called it, after what the
event is about was stored:

    RunPlanned, RunBegan, (TrialStarted, EpochEnded ..., TrialEnded | TrialPutBack) ..., RunEnded

Where other runs train trials of the plan, a `RunWaits` tells that nothing is left for this one, and
a trial of a run that stood still for a minute may end in `TrialTakenOver`.

With several workers, or trials that train together, the events of different trials alternate. With
``until_settled`` a `LookTaken` follows each `RunEnded`, and the next `RunPlanned` follows it unless
every claim is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from normlab.records import EpochRecord
    from normlab.study.plan import Plan
    from normlab.study.summary import Summary


@dataclass(frozen=True, kw_only=True)
class RunPlanned:
    """A run is about to begin.

    Attributes:
        plan: What it trains.
        code_changes: A sentence for each set of own modules that changed since the last run.
        warnings: A sentence for each thing that makes the run slow on this machine.
    """

    plan: Plan
    code_changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunBegan:
    """A run found what is missing and begins to train it.

    Sent again where a run that waited for others takes up trials of theirs.

    Attributes:
        study: The study's name.
        trials: Trials to train that no other run has; 0 where all are finished.
        epochs: Their epochs, together.
        workers: Processes that train side by side.
        together: Trials that one of them trains together, at most.
    """

    study: str
    trials: int
    epochs: int
    workers: int
    together: int = 1


@dataclass(frozen=True, kw_only=True)
class TrialEvent:
    """Something about one trial.

    Attributes:
        id: The trial's id.
        arm: The label of its arm.
        seed: Its seed.
        planned_epochs: The epochs of its recipe.
    """

    id: str
    arm: str
    seed: int
    planned_epochs: int

    @property
    def name(self) -> str:
        """Arm and seed in words."""
        return f"{self.arm}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class TrialStarted(TrialEvent):
    """A worker started the trial. Sent again if the trial restarts.

    Attributes:
        epochs: Epochs that were trained before and are kept.
        anew: Why epochs that were trained before are not kept; empty otherwise.
    """

    epochs: int
    anew: str = ""


@dataclass(frozen=True, kw_only=True)
class EpochEnded(TrialEvent):
    """An epoch is trained and stored; sent again for the epochs before a resume.

    Attributes:
        record: Its number, losses and accuracies.
    """

    record: EpochRecord


@dataclass(frozen=True, kw_only=True)
class TrialEnded(TrialEvent):
    """The trial came to its end.

    Attributes:
        state: How it ended. A diverged trial is a finding; an invalid one did not do what its
            recipe declares.
        epochs: Epochs trained.
        test_accuracy: After the last epoch, a fraction of 1; None if there was no epoch.
        reason: Why it failed (the last line of the traceback) or is invalid; else empty.
    """

    state: Literal["complete", "diverged", "invalid", "failed"]
    epochs: int
    test_accuracy: float | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialPutBack(TrialEvent):
    """The machine could not train the trial: it is pending again, and the next run trains it.

    Attributes:
        reason: What was wrong with the machine.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class TrialTakenOver(TrialEvent):
    """Another run took the trial over, as this one gave no sign of life for a minute.

    What this run still trains of it is not stored.
    """


@dataclass(frozen=True, kw_only=True)
class RunWaits:
    """Nothing is left to begin, and other runs in the folder train trials of the plan.

    The run waits until they are finished, and takes up what becomes free. Sent once a run; before
    `RunBegan` where other runs had all that was missing.

    Attributes:
        study: The study's name.
        trials: Trials that other runs train now.
    """

    study: str
    trials: int


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """A run is over, also one that was interrupted; not sent where an error ended it.

    Attributes:
        study: The study's name.
        summary: What it did: trials by state, failures and more.
    """

    study: str
    summary: Summary


@dataclass(frozen=True, kw_only=True)
class NextLook:
    """What it takes to look again.

    Attributes:
        seeds: Seeds per arm by then.
        arms: Arms that open claims are about: no other gets more seeds.
        trials: Trials that they lack.
        hours: Training hours of these on one worker, at the speed of those trained so far.
    """

    seeds: int
    arms: int
    trials: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class LookTaken:
    """The claims were judged at one of the study's looks.

    Attributes:
        study: The study's name.
        seeds: Seeds per arm at this look, of the arms that open claims were about.
        open_claims: Claims that are still inconclusive.
        settled_claims: Claims that have a verdict, with it.
        next_look: What the next look takes; None where nothing is open, or this was the last.
    """

    study: str
    seeds: int
    open_claims: tuple[str, ...]
    settled_claims: Mapping[str, str] = field(default_factory=dict)
    next_look: NextLook | None = None

    @property
    def settled(self) -> bool:
        """Whether no claim is left open."""
        return not self.open_claims


Event = (
    RunPlanned
    | RunBegan
    | TrialStarted
    | EpochEnded
    | TrialEnded
    | TrialPutBack
    | TrialTakenOver
    | RunWaits
    | RunEnded
    | LookTaken
)
"""Any of them."""

Listener = Callable[[Event], None]
"""What is told the events of a run."""

__all__ = [
    "EpochEnded",
    "Event",
    "Listener",
    "LookTaken",
    "NextLook",
    "RunBegan",
    "RunEnded",
    "RunPlanned",
    "RunWaits",
    "TrialEnded",
    "TrialEvent",
    "TrialPutBack",
    "TrialStarted",
    "TrialTakenOver",
]
