"""Runs of other tools as plain data, whichever tool logged them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COMPLETE, RUNNING, FAILED, KILLED = "complete", "running", "failed", "killed"
STATES = (COMPLETE, RUNNING, FAILED, KILLED)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one run.

    Attributes:
        steps: Ascending; of a step that was logged twice the last value is here.
        values: As many; NaN and infinities are as they were logged.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run. Every text has its control characters written out.

    Attributes:
        id: The tool's, of one source no two the same.
        name: What people call it; the id where it has none.
        group: The experiment or project.
        state: Of `STATES`.
        params: Flattened with dots, as text.
        metrics: By the tool's names.
        parent: The id of the run that this one is nested in, "" where there is none.
    """

    id: str
    name: str
    group: str
    state: str
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, Series] = field(repr=False)
    parent: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that cannot be read.

    Attributes:
        run: Its name.
        reason: Why, in words that are the same for all runs with that reason.
    """

    run: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What a source holds.

    Attributes:
        path: The source.
        tool: Its name in `normlab.trackers.read.READERS`.
        runs: In the order in which they began, where that is known.
        left_out: Runs that are not in `runs`.
        notes: Sentences on runs that were read in part, as from a damaged file.
    """

    path: Path
    tool: str
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


class Points:
    """A series as it is logged: of millions of points two lists are half of what pairs take."""

    __slots__ = ("steps", "values")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def add(self, step: int, value: float) -> None:
        """What was logged next."""
        self.steps.append(step)
        self.values.append(value)

    def series(self) -> Series:
        """Sorted by step; of a step that was logged twice the last value."""
        last = dict(zip(self.steps, self.values, strict=True))
        steps = sorted(last)
        if steps == self.steps:
            return Series(steps=tuple(steps), values=tuple(self.values))
        return Series(steps=tuple(steps), values=tuple(last[step] for step in steps))


def series(points: Iterable[tuple[int, float]]) -> Series:
    """A series of (step, value) pairs in the order in which they were logged."""
    logged = Points()
    for step, value in points:
        logged.add(step, value)
    return logged.series()
