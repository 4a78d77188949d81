"""Where an arm stands in a figure against a factor: its place on the axis, its line, its panel.

A factor that is nested in another has no level in some arms (with no dropout, the number of dropout
layers means nothing). Such an arm stands in every line, or panel, where none of these has another
at its place on the axis: all of them start there. Otherwise it is a line, or panel, of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normlab.errors import UserError, unknown
from normlab.recipe import value_text
from normlab.study.figures import Factor, Interaction

Levels = Mapping[str, Any]


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
    drawn = {label: levels for label, levels in arms.items() if figure.x in levels}
    numeric = _check_axis(figure, [levels[figure.x] for levels in drawn.values()])
    texts = {key: _texts([v[key] for v in arms.values() if key in v]) for key in known}

    def text(levels: Levels, key: str) -> str:
        return texts[key][str(levels[key])]

    def named(levels: Levels, keys: Sequence[str], *, short: bool) -> str | None:
        there = [key for key in keys if key in levels]
        if short and len(keys) == 1 and there:
            return text(levels, keys[0])
        return ", ".join(f"{key}={text(levels, key)}" for key in there) or None

    places = {
        label: (
            levels[figure.x] if numeric else text(levels, figure.x),
            named(levels, lines, short=True),
            named(levels, panels, short=False),
        )
        for label, levels in drawn.items()
    }
    line_names = _filled({label: (x, line) for label, (x, line, _) in places.items()}, lines)
    panel_names = _filled({label: (x, panel) for label, (x, _, panel) in places.items()}, panels)
    points = [
        {"arm": label, "x": x, "line": line, "panel": panel}
        for label, (x, *_) in places.items()
        for panel in panel_names[label]
        for line in line_names[label]
    ]
    return {
        "points": points,
        "numeric": numeric,
        "without": [label for label in arms if label not in drawn],
        "repeated": [
            label for label in drawn if len(panel_names[label]) * len(line_names[label]) > 1
        ],
    }


def _check_axis(figure: Factor | Interaction, values: Sequence[Any]) -> bool:
    """Whether the axis is one of numbers."""
    if len(dict.fromkeys(map(str, values))) < 2:
        raise UserError(f"two levels of {figure.x} are needed, the arms have {value_text(values)}")
    if isinstance(figure, Interaction):
        return False
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if figure.scale == "log" and not (numeric and min(values) > 0):
        raise UserError(f"scale is 'log': {figure.x} has {value_text(values)}")
    return numeric


def _filled(
    places: Mapping[str, tuple[Any, str | None]], keys: Sequence[str]
) -> dict[str, list[str | None]]:
    """The names of each arm's lines (or panels); places are its x and its own name, if any."""
    if not keys:
        return {label: [None] for label in places}
    every = list(dict.fromkeys(name for _, name in places.values() if name is not None))
    taken = {x for x, name in places.values() if name is not None}
    absent = f"no {' and '.join(keys)}"
    return {
        label: [name] if name is not None else [absent] if x in taken or not every else list(every)
        for label, (x, name) in places.items()
    }


def _texts(levels: Iterable[Any]) -> dict[str, str]:
    """Levels in few words: of a component its kind, where that tells it from the others."""
    distinct = {str(level): level for level in levels}
    kinds = [level["kind"] if _has_kind(level) else level for level in distinct.values()]
    return {
        key: str(level["kind"])
        if _has_kind(level) and kinds.count(level["kind"]) == 1
        else value_text(level)
        for key, level in distinct.items()
    }


def _has_kind(level: Any) -> bool:
    return isinstance(level, Mapping) and "kind" in level
