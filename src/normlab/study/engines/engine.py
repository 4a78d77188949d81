"""What an engine is: it takes trials and gives back messages, in whatever order they come.

Trials come in units of work. A unit of several trains side by side in one worker; its messages are
those of its trials, each with its own beginning and end.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from normlab.recipe import Recipe
from normlab.records import Artifact, EpochRecord, TrialResult


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trial to train, with the study's folder for its files.

    `code` is the hash of its own code, `code_files` the files that count beside the modules that
    an own model or norm imports; see `normlab.study.own`. `together` says that it trains on the
    path that takes several trials at once (`normlab.train.lanes`), even if it is the only one of
    its unit: that follows from its recipe, the study and the processor, and never from what else
    is pending; see `normlab.study.groups`. `run` is the id of a run that shares the folder with
    others: the trial's files wait under its names until the store takes them; see
    `normlab.store.staged_path`.
    """

    trial_id: str
    recipe: Recipe
    seed: int
    folder: Path
    code: str | None = None
    code_files: tuple[str, ...] = ()
    together: bool = False
    run: str | None = None

    @property
    def checkpoint(self) -> Path:
        """Where the trial's state after its last whole epoch lies until it is finished."""
        return self.folder / "checkpoints" / f"{self.trial_id}.pt"


Unit = tuple[Task, ...]
"""What a worker takes up at once: one trial, or several that train together, all of one form."""


@dataclass(frozen=True)
class Started:
    """A worker took the trial up, on this machine and software, after so many epochs.

    `anew` says why epochs that were trained before do not count: their bits are another machine's,
    or another path's.
    """

    trial_id: str
    provenance: dict[str, Any]
    epochs: int
    anew: str = ""


@dataclass(frozen=True)
class Placed:
    """The model is there: how the trial computes is now known too.

    `provenance` is that of `Started` with what only the model tells; see
    `normlab.train.provenance`. Sent before the first epoch that is trained here, or before the end
    where none was left.
    """

    trial_id: str
    provenance: dict[str, Any]


@dataclass(frozen=True)
class EpochTrained:
    """An epoch is done; sent again for epochs done before a resume.

    `is_kept` says that its checkpoint is written. That of a last epoch which was short is not:
    `Ended` follows at once, and the epoch is stored together with it.
    """

    trial_id: str
    record: EpochRecord
    is_kept: bool = True


@dataclass(frozen=True)
class Ended:
    """The trial came to its end, its files are written."""

    trial_id: str
    result: TrialResult
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True)
class Failed:
    """The trial raised, or crashed its worker; `reason` is the traceback or says how."""

    trial_id: str
    reason: str


@dataclass(frozen=True)
class Faulted:
    """The machine could not train the trial: nothing is wrong with it, it goes back to pending.

    Attributes:
        trial_id: The trial; its checkpoint stays.
        reason: What is wrong with the machine, in words.
        may_help_alone: Memory ran out: without others beside it the trial may fit. An engine tries
            that once before it sends this. Otherwise (a full disk) no trial can go on.
    """

    trial_id: str
    reason: str
    may_help_alone: bool


Message = Started | Placed | EpochTrained | Ended | Failed | Faulted


class Engine(Protocol):
    """Runs trials. Closing the generator stops what still runs.

    Attributes:
        workers: Units that are trained side by side.
    """

    workers: int

    def run(self, units: Iterable[Unit]) -> Generator[Message, None, None]:
        """Train every task; each gives `Started`, its epochs, then `Ended`, `Failed`, `Faulted`.

        A unit is asked for when a worker is free for it, and not before: until then another run
        may take it up. `Placed` comes before the first epoch that is trained here. A trial that is
        taken up again starts again. Messages of a unit's trials alternate.
        """
        ...
