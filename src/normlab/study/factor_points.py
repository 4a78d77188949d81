"""Where an arm stands in a figure against a factor: its place on the axis, its line, its panel.

A factor that is nested in another has no level in some arms (with no dropout, the number of dropout
layers means nothing). Such an arm stands in every line, or panel, that it agrees with otherwise,
if none of these has another arm at its place on the axis: all of them start there. Else it is a
line, or panel, of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from normlab.arms import level_text
from normlab.errors import UserError, unknown
from normlab.recipe import value_text
from normlab.study.figures import Factor, Interaction

Levels = Mapping[str, Any]
Texts = tuple[str | None, ...]


def factor_points(figure: Factor | Interaction, arms: Mapping[str, Levels]) -> dict[str, Any]:
    """Every arm's places.

    Args:
        figure: What is drawn.
        arms: Levels of the figure's arms by label.

    Returns:
        `points`: `arm`, `x`, `line` and `panel` (None where the figure has none); `numeric`:
        whether x is a number; `without`: arms that have no level of x; `repeated`: those that stand
        in several lines or panels.

    Raises:
        UserError: No such factor, fewer than two levels on the axis, or no numbers above 0 on a
            logarithmic one.
    """
    lines, panels = figure.lines or (), (figure.panels,) if figure.panels else ()
    known = dict.fromkeys(key for levels in arms.values() for key in levels)
    for key in (figure.x, *lines, *panels):
        if key not in known:
            raise UserError(unknown("factor", key, known))
    if figure.x in (*lines, *panels):
        raise UserError(f"{figure.x} is x and cannot be lines or panels too")
    for key in lines:
        if lines.count(key) > 1:
            raise UserError(f"{key} is among lines twice")
    drawn = {label: levels for label, levels in arms.items() if figure.x in levels}
    numeric = _check_axis(figure, [levels[figure.x] for levels in drawn.values()])
    there = {
        key: [*{str(v[key]): v[key] for v in arms.values() if key in v}.values()] for key in known
    }

    def text(levels: Levels, key: str) -> str:
        return level_text(levels[key], there[key])

    places = {
        label: levels[figure.x] if numeric else text(levels, figure.x)
        for label, levels in drawn.items()
    }
    names = {
        keys: _filled(
            {
                label: (
                    x,
                    tuple(text(drawn[label], k) if k in drawn[label] else None for k in keys),
                )
                for label, x in places.items()
            }
        )
        for keys in (lines, panels)
    }
    points = [
        {
            "arm": label,
            "x": x,
            "line": _named(lines, line, short=len(lines) == 1),
            "panel": _named(panels, panel, short=False),
        }
        for label, x in places.items()
        for panel in names[panels][label]
        for line in names[lines][label]
    ]
    return {
        "points": points,
        "numeric": numeric,
        "without": [label for label in arms if label not in drawn],
        "repeated": [
            label for label in drawn if len(names[panels][label]) * len(names[lines][label]) > 1
        ],
    }


def _check_axis(figure: Factor | Interaction, values: Sequence[Any]) -> bool:
    """Whether the axis is one of numbers."""
    if len(dict.fromkeys(map(str, values))) < 2:
        texts = ", ".join(dict.fromkeys(map(value_text, values))) or "none"
        raise UserError(f"two levels of {figure.x} are needed, the arms have {texts}")
    if isinstance(figure, Interaction):
        return False
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if figure.scale == "log" and not (numeric and min(values) > 0):
        texts = ", ".join(dict.fromkeys(map(value_text, values)))
        raise UserError(f"scale is 'log': numbers above 0 are needed, {figure.x} has {texts}")
    return numeric


def _filled(places: Mapping[str, tuple[Any, Texts]]) -> dict[str, list[Texts]]:
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
