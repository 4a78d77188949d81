"""From a study file's figures to arms and levels: the record that the report draws from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from normlab.arms import Arms
from normlab.errors import UserError, unknown
from normlab.records.plan import FigureRecord
from normlab.study.analysis import Analysis
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


def resolve_figures(
    figures: Sequence[AnyFigure],
    analysis: Analysis,
    arms: Arms,
    *,
    claims: Sequence[str],
    seeds: Sequence[int],
) -> tuple[FigureRecord, ...]:
    """Every figure as plain data, its arms by label.

    Args:
        figures: As the study file has them.
        analysis: Its metric and epoch hold where a figure names none.
        arms: The plan's.
        claims: Names of the study's claims.
        seeds: The plan's.

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
            if arms.strict:
                raise UserError(f"figure {name}: {error}") from None
            record["unresolved"] = str(error)
        records.append(FigureRecord.model_validate(record))
    return tuple(records)


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
        found["arms"] = list(arms.pick_any(figure.arms))
    if isinstance(figure, Factor | Interaction):
        found["metric"] = _plain(figure.metric) or analysis.metric
        found["at"] = figure.at or analysis.at
        found |= factor_points(figure, {label: arms.levels[label] for label in found["arms"]})
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
        found["arm"] = arms.pick_one(figure.arm)
        if figure.seed is not None and figure.seed not in seeds:
            raise UserError(f"seed is {figure.seed}: the study has {', '.join(map(str, seeds))}")
    elif isinstance(figure, Disagreement):
        found["right"], found["wrong"] = arms.pick_one(figure.right), arms.pick_one(figure.wrong)
        if found["right"] == found["wrong"]:
            raise UserError(f"right and wrong are both {found['right']}")
    return found


def _plain(metric: Any) -> Any:
    return metric if metric is None or isinstance(metric, str) else metric.model_dump(mode="json")
