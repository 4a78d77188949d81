"""Runs of other tools as plain data, whichever tool logged them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from normlab.errors import UserError, listing
from normlab.text import shown

COMPLETE, RUNNING, FAILED, KILLED = "complete", "running", "failed", "killed"
"""How a run stands."""
_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one run.

    Attributes:
        steps: Ascending, one at least; of a step that was logged twice the last value is here.
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
        state: `COMPLETE`, `RUNNING`, `FAILED` or `KILLED`.
        params: Flattened with dots, as text.
        metrics: By the tool's names.
    """

    id: str
    name: str
    group: str
    state: str
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, Series] = field(repr=False)


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
        notes: Sentences on runs that were read in part, as from a damaged file, and on what was not
            read at all.
    """

    path: Path
    tool: str
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


def of_group(runs: Runs, group: str | None) -> list[Run]:
    """The runs of an experiment or project; None takes all.

    Raises:
        UserError: There is none of that name.
    """
    found = [run for run in runs.runs if group in {None, run.group}]
    if not found and group is not None:
        groups = list(dict.fromkeys(run.group for run in runs.runs))
        raise UserError(
            f"{runs.path} has no experiment or project '{group}'; there are: "
            f"{first_names(groups) or 'none'}"
        )
    return found


def first_names(names: Sequence[str]) -> str:
    """The first of a source's names in a row, for a message, and how many more there are."""
    more = len(names) - _MOST_SHOWN
    return f"{listing(names[:_MOST_SHOWN])}{f' and {more} more' if more > 0 else ''}"


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


def all_series(points: Mapping[str, Points]) -> dict[str, Series]:
    """The metrics of a run, their names shown; one without a point is not there."""
    return {shown(name): of.series() for name, of in points.items() if of.steps}


def same_series(one: Series | None, other: Series | None) -> bool:
    """Whether two runs, or two names of one run, have the same points; NaN is the same as NaN."""
    if one is None or other is None:
        return one is other
    return one.steps == other.steps and all(
        a == b or (math.isnan(a) and math.isnan(b))
        for a, b in zip(one.values, other.values, strict=True)
    )


def series(points: Iterable[tuple[int, float]]) -> Series:
    """A series of (step, value) pairs in the order in which they were logged."""
    logged = Points()
    for step, value in points:
        logged.add(step, value)
    return logged.series()
