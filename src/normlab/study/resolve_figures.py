"""From a study file's figures to arms and levels: the record that the report draws from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from normlab.errors import UserError, listing, unknown
from normlab.recipe import value_text
from normlab.study.claims import Analysis, Selector
from normlab.study.factor_points import factor_points
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
            record |= _resolved(figure, analysis, arms, claims, seeds, strict=strict)
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
    *,
    strict: bool,
) -> dict[str, Any]:
    """What of a figure's record depends on the study."""
    found: dict[str, Any] = {}
    if isinstance(figure, OfArms):
        found["arms"] = _arms(figure.arms, arms, strict=strict)
    if isinstance(figure, Factor | Interaction):
        found["metric"] = _plain(figure.metric) or analysis.metric
        found["at"] = figure.at or analysis.at
        found |= factor_points(figure, {label: arms[label] for label in found["arms"]})
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


def _arms(selectors: Sequence[Selector] | None, arms: Arms, *, strict: bool) -> list[str]:
    """Labels that any of the selectors fits, in the plan's order."""
    if selectors is None:
        return list(arms)
    picked = {label for one in selectors for label in pick(one, arms, strict=strict)}
    return [label for label in arms if label in picked]


def _one(selector: Selector, arms: Arms) -> str:
    found = pick(selector, arms, strict=False)
    if len(found) > 1:
        text = f"{value_text(selector)} fits {len(found)}: {listing(found)}"
        raise UserError(f"one arm is needed, and {text}")
    return found[0]
