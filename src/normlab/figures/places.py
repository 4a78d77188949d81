"""Where an arm stands in a figure against a factor: its place on the axis, its line, its panel.

A factor that is nested in another has no level in some arms (with no dropout, the number of dropout
layers means nothing). Such an arm stands in every line, or panel, that it agrees with otherwise,
if none of these has another arm at its place on the axis: all of them start there. Else it is a
line, or panel, of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from normlab.arms import Arms, is_number, level_text
from normlab.errors import UserError
from normlab.recipe import value_text

Texts = tuple[str | None, ...]


class Point(NamedTuple):
    """An arm's place; `line` and `panel` are None where the figure has none."""

    arm: str
    x: float | str
    line: str | None
    panel: str | None


class Places(NamedTuple):
    """Every arm's places.

    Attributes:
        points: In the order of the arms.
        numeric: Whether x is a number.
        without: Arms that have no level of x.
        repeated: Arms that stand in several lines or panels.
    """

    points: tuple[Point, ...]
    numeric: bool
    without: tuple[str, ...]
    repeated: tuple[str, ...]


def places_of(
    arms: Arms, x: str, lines: Sequence[str], panel: str | None, *, named: bool, log: bool
) -> Places:
    """Every arm's places.

    Args:
        arms: Those of the figure.
        x: The factor on the axis.
        lines: The factors whose levels are a line together.
        panel: The factor that has a panel per level.
        named: Whether the axis has names, also of numbers.
        log: Whether the axis is logarithmic.

    Raises:
        UserError: No such factor, fewer than two levels on the axis, or no numbers above 0 on a
            logarithmic one.
    """
    panels = (panel,) if panel else ()
    for key in (x, *lines, *panels):
        if key not in arms.factors:
            raise arms.no_factor(key)
    if x in (*lines, *panels):
        raise UserError(f"{x} is x and cannot be lines or panels too")
    for key in lines:
        if list(lines).count(key) > 1:
            raise UserError(f"{key} is among lines twice")
    drawn = {label: levels for label, levels in arms.levels.items() if x in levels}
    numbers = _numbers(x, {label: levels[x] for label, levels in drawn.items()}, log=log)
    numbers = {} if named else numbers
    there = {
        key: [*{str(v[key]): v[key] for v in arms.levels.values() if key in v}.values()]
        for key in arms.factors
    }

    def text(levels: Mapping[str, object], key: str) -> str:
        return level_text(levels[key], there[key])

    at = {label: numbers.get(label, text(levels, x)) for label, levels in drawn.items()}
    names = {
        keys: _filled(
            {
                label: (
                    place,
                    tuple(text(drawn[label], k) if k in drawn[label] else None for k in keys),
                )
                for label, place in at.items()
            }
        )
        for keys in (tuple(lines), panels)
    }
    points = [
        Point(
            arm=label,
            x=place,
            line=_named(lines, line, short=len(lines) == 1),
            panel=_named(panels, of_panel, short=False),
        )
        for label, place in at.items()
        for of_panel in names[panels][label]
        for line in names[tuple(lines)][label]
    ]
    several = [
        label for label in drawn if len(names[panels][label]) * len(names[tuple(lines)][label]) > 1
    ]
    without = [label for label in arms if label not in drawn]
    return Places(tuple(points), bool(numbers), tuple(without), tuple(several))


def _numbers(x: str, levels: Mapping[str, object], *, log: bool) -> dict[str, float]:
    """The levels of arms on the axis, if all are numbers; else none."""
    texts = list(dict.fromkeys(map(value_text, levels.values())))
    if len(dict.fromkeys(map(str, levels.values()))) < 2:
        found = ", ".join(texts) or "none"
        raise UserError(f"two levels of {x} are needed, the arms have {found}")
    numbers = {
        label: level
        for label, level in levels.items()
        if isinstance(level, int | float) and is_number(level)
    }
    numbers = numbers if len(numbers) == len(levels) else {}
    if log and not (numbers and min(numbers.values()) > 0):
        raise UserError(f"scale is 'log': numbers above 0 are needed, {x} has {', '.join(texts)}")
    return numbers


def _filled(places: Mapping[str, tuple[float | str, Texts]]) -> dict[str, list[Texts]]:
    """The levels of each arm's lines (or panels), from its x and its own; None for no level."""
    whole = [(x, levels) for x, levels in places.values() if None not in levels]
    found: dict[str, list[Texts]] = {}
    for label, (x, mine) in places.items():
        like = [
            (other_x, levels)
            for other_x, levels in whole
            if all(one in {None, other} for one, other in zip(mine, levels, strict=True))
        ]
        joins = None in mine and like and all(other_x != x for other_x, _ in like)
        found[label] = list(dict.fromkeys(levels for _, levels in like)) if joins else [mine]
    return found


def _named(keys: Sequence[str], levels: Texts, *, short: bool) -> str | None:
    """A line's or panel's name: the level alone, or each with its factor."""
    there = [(key, level) for key, level in zip(keys, levels, strict=True) if level is not None]
    if keys and not there:
        return f"no {' and '.join(keys)}"
    return ", ".join(level if short else f"{key}={level}" for key, level in there) or None
