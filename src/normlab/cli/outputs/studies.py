"""Outputs about one study's folder: status, verify, report, trust."""

from __future__ import annotations

from typing import Literal

from normlab.cli.outputs.output import Output, Part
from normlab.records import TrialState

ShownState = Literal[TrialState, "interrupted"]


class LostFile(Part):
    """A file of a finished trial that is gone or damaged.

    Attributes:
        arm: The label of the trial's arm.
        seed: The trial's seed.
        id: The trial's id.
        kind: `weights` or `predictions`.
        path: Within the study's folder.
        reason: In what way it is gone or damaged.
    """

    arm: str
    seed: int
    id: str
    kind: str
    path: str
    reason: str


class TrialProgress(Part):
    """How far a planned trial is.

    Attributes:
        arm: The label of its arm.
        seed: Its seed.
        id: Its id.
        state: `interrupted` is one that ran in a process that is gone: the next run goes on.
        epochs: Epochs done.
        of: Epochs planned; null where no model was built.
        reason: Of a failed trial the traceback, of an invalid one what is wrong; else null.
    """

    arm: str
    seed: int
    id: str
    state: ShownState
    epochs: int
    of: int | None
    reason: str | None


class StudyProgress(Output):
    """How far the last run of a study is.

    Attributes:
        name: The study's name.
        counts: Trials by state; only states that occur.
        trials: Every planned trial.
        lost: Files of finished trials that are gone or have another size.
        at_work: Runs that share the study's folder now.
    """

    name: str
    counts: dict[str, int]
    trials: list[TrialProgress]
    lost: list[LostFile]
    at_work: int


class FilesVerified(Output):
    """The files of finished trials, compared with their hashes.

    Attributes:
        name: The study's name.
        files: How many there should be.
        lost: Those that are gone or damaged: the exit code is 1 if there are any.
    """

    name: str
    files: int
    lost: list[LostFile]


class ReportWritten(Output):
    """Files of a study's report.

    Attributes:
        name: The study's name.
        report: The page's path.
        written: Paths of what `--figures`, `--latex` and `--csv` asked for.
        not_drawn: Figures that could not be drawn, by name, with the reason.
    """

    name: str
    report: str
    written: list[str]
    not_drawn: dict[str, str]


class TrustedModule(Part):
    """A module that a study file may have imported.

    Attributes:
        module: Its name.
        file: Where it is; null where it is not found.
    """

    module: str
    file: str | None


class StudyTrusted(Output):
    """Whether a study file's code may run.

    Attributes:
        study: The study as it was named.
        trusted: Whether it may, now. A file that names no code has nothing to trust: false.
        before: With `--revoke`: whether it was trusted before; else null.
        modules: Those that it names; empty with `--revoke`.
    """

    study: str
    trusted: bool
    before: bool | None
    modules: list[TrustedModule]
