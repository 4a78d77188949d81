"""What an engine does with units that did not come through: again alone, then in halves.

Memory is short side by side and may do for one. So a unit that lacked it, or whose worker was
killed, runs once more when all others are through, with nothing beside it. Where that is not
enough for several trials, each half of them is tried, and so on: in the end each trial by itself.
Nothing is lost on the way, for every trial goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from normlab.study.engines.engine import Message, Unit

Pass = Callable[[Iterable[Unit], list[Unit] | None], Generator[Message, None, None]]
"""Trains units; what did not come through goes to the list, or is told where there is none."""


def run_again(run: Pass, units: Iterable[Unit]) -> Generator[Message, None, None]:
    """Train units, and what is left of them again until it is told how each trial ended."""
    again: list[Unit] = []
    yield from run(units, again)
    while again:
        unit = again.pop(0)
        short: list[Unit] = []
        yield from run([unit], short if len(unit) > 1 else None)
        again[:0] = [half for left in short for half in halves(left)]


def halves(unit: Unit) -> list[Unit]:
    """Two units of one; a single trial stays."""
    middle = (len(unit) + 1) // 2
    return [part for part in (unit[:middle], unit[middle:]) if part]
