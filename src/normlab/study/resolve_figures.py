"""From a study file's figures to arms and levels: the record that the report draws from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normlab.errors import UserError, unknown
from normlab.recipe import value_text
from normlab.study.claims import Analysis, Selector
from normlab.study.figures import (
    AnyFigure,
    Bars,
    Disagreement,
    Dots,
    Effects,
    Factor,
    Interaction,
    Misclassified,
    OfArms,
)
from normlab.study.resolve import Arms, pick


def resolve_figures(
    figures: Sequence[AnyFigure],
    analysis: Analysis,
    arms: Arms,
    *,
    claims: Sequence[str],
    seeds: Sequence[int],
    strict: bool,
) -> list[dict[str, Any]]:
    """Every figure as plain data, its arms by label.

    Args:
        figures: As the study file has them.
        analysis: Its metric and epoch hold where a figure names none.
        arms: The plan's.
        claims: Names of the study's claims.
        seeds: The plan's.
        strict: Whether a figure of arms that are not there is a mistake; else (a quick variant, a
            factor fixed on the command line) it is kept with `unresolved`, the reason.

    Raises:
        UserError: A figure names arms, factors, claims or seeds that are not there, or two figures
            have one name.
    """
    names = _names(figures)
    records = []
    for name, figure in zip(names, figures, strict=True):
        record = figure.model_dump(mode="json", exclude={"name"}) | {"name": name}
        try:
            record |= _resolved(figure, analysis, arms, claims, seeds)
        except UserError as error:
            if strict:
                raise UserError(f"figure {name}: {error}") from None
            record["unresolved"] = str(error)
        records.append(record)
    return records


def _names(figures: Iterable[AnyFigure]) -> list[str]:
    """The names given, and for the others their kind, with a number from the second on."""
    given = [figure.name for figure in figures if figure.name]
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"figures: two of them have the name '{name}'")
    found: list[str] = []
    for figure in figures:
        name, number = figure.name or figure.kind, 1
        while not figure.name and (name in given or name in found):
            number += 1
            name = f"{figure.kind}-{number}"
        found.append(name)
    return found


def _resolved(
    figure: AnyFigure,
    analysis: Analysis,
    arms: Arms,
    claims: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """What of a figure's record depends on the study."""
    found: dict[str, Any] = {}
    if isinstance(figure, OfArms):
        found["arms"] = _arms(figure.arms, arms)
    if isinstance(figure, Factor | Interaction):
        found["metric"] = _plain(figure.metric) or analysis.metric
        found["at"] = figure.at or analysis.at
        found |= _levels(figure, {label: arms[label] for label in found["arms"]})
    elif isinstance(figure, Dots | Bars):
        found["metrics"] = [_plain(metric) for metric in figure.metrics or (analysis.metric,)]
        found["at"] = figure.at or analysis.at
    elif isinstance(figure, Effects):
        if not claims:
            raise UserError("the study makes no claims")
        for name in figure.claims or ():
            if name not in claims:
                raise UserError(unknown("claim", name, claims))
    elif isinstance(figure, Misclassified):
        found["arm"] = _one(figure.arm, arms)
        if figure.seed is not None and figure.seed not in seeds:
            raise UserError(f"seed is {figure.seed}: the study has {', '.join(map(str, seeds))}")
    elif isinstance(figure, Disagreement):
        found["right"], found["wrong"] = _one(figure.right, arms), _one(figure.wrong, arms)
        if found["right"] == found["wrong"]:
            raise UserError(f"right and wrong are both {found['right']}")
    return found


def _plain(metric: Any) -> Any:
    return metric if metric is None or isinstance(metric, str) else metric.model_dump(mode="json")


def _arms(selectors: Sequence[Selector] | None, arms: Arms) -> list[str]:
    """Labels that any of the selectors fits, in the plan's order."""
    if selectors is None:
        return list(arms)
    picked = {label for selector in selectors for label in pick(selector, arms)}
    return [label for label in arms if label in picked]


def _one(selector: Selector, arms: Arms) -> str:
    found = pick(selector, arms)
    if len(found) > 1:
        raise UserError(f"{value_text(selector)} fits {len(found)} arms, {', '.join(found)}: one")
    return found[0]


def _levels(figure: Factor | Interaction, arms: Arms) -> dict[str, Any]:
    """For each arm drawn its place on the axis, its line and its panel.

    Returns:
        `points`: `arm`, `x`, `line` and `panel` (None where the figure has none); `numeric`:
        whether x is a number; `without`: the arms that have no level of x.
    """
    keys = [figure.x, *(figure.lines or ()), *([figure.panels] if figure.panels else [])]
    known = dict.fromkeys(key for levels in arms.values() for key in levels)
    for key in keys:
        if key not in known:
            raise UserError(unknown("factor", key, known))
    drawn = {label: levels for label, levels in arms.items() if figure.x in levels}
    texts = {key: _texts([v[key] for v in drawn.values() if key in v]) for key in keys}
    values = [levels[figure.x] for levels in drawn.values()]
    numeric = isinstance(figure, Factor) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if len(dict.fromkeys(map(str, values))) < 2:
        raise UserError(f"two levels of {figure.x} are needed, the arms have {value_text(values)}")
    log = isinstance(figure, Factor) and figure.scale == "log"
    if log and not (numeric and min(values) > 0):
        raise UserError(f"scale is 'log': {figure.x} has {value_text(values)}")

    def text(levels: Mapping[str, Any], key: str) -> str:
        return texts[key][str(levels[key])] if key in levels else f"no {key}"

    points = [
        {
            "arm": label,
            "x": levels[figure.x] if numeric else text(levels, figure.x),
            "line": _named(levels, figure.lines or (), text),
            "panel": f"{figure.panels}={text(levels, figure.panels)}" if figure.panels else None,
        }
        for label, levels in drawn.items()
    ]
    without = [label for label in arms if label not in drawn]
    return {"points": points, "numeric": numeric, "without": without}


def _named(levels: Mapping[str, Any], keys: Sequence[str], text: Any) -> str | None:
    """A line's name: the level alone where one factor tells the lines apart."""
    if len(keys) < 2:
        return text(levels, keys[0]) if keys else None
    return (
        ", ".join(f"{key}={text(levels, key)}" for key in keys if key in levels) or "none of them"
    )


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
