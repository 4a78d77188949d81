"""From a study file's claims to arms: the record that the store keeps and the report judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from normlab.errors import UserError, unknown
from normlab.metrics import METRICS
from normlab.recipe import digest, value_text
from normlab.study.claims import Analysis, AnyClaim, Best, Faster, Published, Selector, Trend
from normlab.study.levels import is_level

Arms = Mapping[str, Mapping[str, Any]]
"""Levels of every arm by its label."""

_FINE = {"digits", "mnist", "fashion-mnist", "kmnist"}
"""Data sets on which a tenth of a point is a difference."""

_SHOWN = 4  # arms in a message; `plan` lists them all

_DECISIVE = (
    "kind", "metric", "at", "margin", "test", "sides", "levels", "contrast", "target", "split",
    "clock", "hold",
)  # fmt: skip
"""What a claim's hash is made of: a change of its words is no change of the claim."""


def resolve_claims(
    claims: Sequence[AnyClaim], analysis: Analysis, arms: Arms, *, data: set[str], strict: bool
) -> list[dict[str, Any]]:
    """Every claim as plain data, its arms by label.

    Args:
        claims: As the study file has them.
        analysis: What holds where a claim says nothing.
        arms: The plan's.
        data: Kinds of the data sets the arms use.
        strict: Whether a claim about arms that are not there is a mistake; else (a quick variant,
            a factor fixed on the command line) it is kept with `unresolved`, the reason.

    Raises:
        UserError: A claim names arms or levels that are not there, or needs a margin.
    """
    records = []
    for number, claim in enumerate(claims, start=1):
        try:
            records.append(_record(claim, analysis, arms, data))
        except UserError as error:
            where = f"claim {claim.name or number}"
            if strict:
                raise UserError(f"{where}: {error}") from None
            head = {"name": claim.name or f"{number}", "kind": claim.kind, "says": claim.says}
            records.append({**head, "unresolved": str(error)})
    return records


def resolve_published(
    published: Sequence[Published], arms: Arms, *, strict: bool
) -> list[dict[str, Any]]:
    """Every published row with the labels of the arms it is about.

    Raises:
        UserError: No such arm.
    """
    rows = []
    for row in published:
        try:
            rows.append({"arms": pick(row.arm, arms), "values": dict(row.values)})
        except UserError as error:
            if strict:
                raise UserError(f"published: {error}") from None
    return rows


def pick(selector: Selector, arms: Arms) -> list[str]:
    """Labels of the arms that a selector fits, in the plan's order.

    Raises:
        UserError: No such label, no arm with such a factor, or no arm that fits.
    """
    if isinstance(selector, str):
        if selector not in arms:
            raise UserError(unknown("arm", selector, arms))
        return [selector]
    if not selector:
        raise UserError("{} picks every arm: name levels, or an arm's label")
    known = dict.fromkeys(key for levels in arms.values() for key in levels)
    for key in selector:
        if key not in known:
            raise UserError(unknown("factor", key, known))
    found = [label for label, levels in arms.items() if _fits(levels, selector)]
    if not found:
        shown = [*arms][:_SHOWN] + (["..."] if len(arms) > _SHOWN else [])
        raise UserError(f"no arm has {value_text(selector)}; the arms are {', '.join(shown)}")
    return found


def _fits(levels: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        key in levels
        and (is_level(levels[key], v) or (isinstance(v, list) and _is_any(levels[key], v)))
        for key, v in wanted.items()
    )


def _is_any(level: Any, wanted: list[Any]) -> bool:
    return any(is_level(level, one) for one in wanted)


def _record(claim: AnyClaim, analysis: Analysis, arms: Arms, data: set[str]) -> dict[str, Any]:
    levels = _levels(claim, arms)
    sides = [pick(selector, arms) for selector in claim.sides(levels)]
    if isinstance(claim, Best) and claim.over is None:
        sides += [[label] for label in arms if label not in sides[0]]
    if isinstance(claim, Faster):
        for selector, side in zip(claim.sides(levels), sides, strict=True):
            if len(side) > 1:
                raise UserError(
                    f"'faster' compares one arm with one, and {_text(selector)} fits "
                    f"{len(side)}: {', '.join(side)}"
                )
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
    falls = isinstance(claim, Trend) and claim.direction == "falls"
    if falls and not numeric:
        sides.reverse()
    record: dict[str, Any] = {
        "name": claim.name or _words(claim, levels),
        "kind": claim.kind,
        "says": claim.says,
        "source": claim.source,
        "published": dict(claim.published),
        "confound": claim.confound,
        "metric": None if isinstance(claim, Faster) else claim.metric or analysis.metric,
        "at": claim.at or analysis.at,
        "margin": _margin(claim, analysis, data),
        "test": "permutation" if isinstance(claim, Faster) else claim.test,
        "sides": sides,
        "levels": [-v if falls else v for v in levels] if numeric else [],
    }
    for key in ("contrast", "target", "split", "clock", "hold"):
        if key in type(claim).model_fields:
            record[key] = getattr(claim, key)
    return {**record, "hash": digest({key: record.get(key) for key in _DECISIVE})[:12]}


def _levels(claim: AnyClaim, arms: Arms) -> list[Any]:
    if not isinstance(claim, Trend):
        return []
    found: list[Any] = []
    for levels in arms.values():
        if claim.factor in levels and _fits(levels, claim.within):
            level = levels[claim.factor]
            found += [] if level in found else [level]
    if len(found) < 2:
        known = dict.fromkeys(key for levels in arms.values() for key in levels)
        if claim.factor not in known:
            raise UserError(unknown("factor", claim.factor, known))
        raise UserError(f"a trend needs two levels of {claim.factor}, the arms have {len(found)}")
    return found


def _margin(claim: AnyClaim, analysis: Analysis, data: set[str]) -> float:
    """The margin in the scores' own unit: fractions of 1 for what is shown in points."""
    if isinstance(claim, Faster):
        return claim.margin
    metric = METRICS[claim.metric or analysis.metric]
    margin = claim.margin or (None if claim.metric else analysis.margin)
    if margin is None:
        if not metric.points:
            name = claim.metric or analysis.metric
            raise UserError(f"the metric '{name}' has no usual margin: give the claim one")
        margin = 0.1 if data <= _FINE else 0.3
    return margin / 100 if metric.points else margin


def _words(claim: AnyClaim, levels: list[Any]) -> str:
    """A claim without a name, in words: its kind and what its arms are picked by."""
    if isinstance(claim, Trend):
        place = f" within {_text(claim.within)}" if claim.within else ""
        return f"{claim.factor} {claim.direction}{place}"
    texts = [_text(selector) for selector in claim.sides(levels)]
    if isinstance(claim, Best) and claim.over is None:
        texts.append("every other")
    return f"{claim.kind}: " + (" > " if claim.kind == "ranking" else ", ").join(texts)


def _text(selector: Selector) -> str:
    if isinstance(selector, str):
        return selector
    return " ".join(f"{key}={value_text(value)}" for key, value in selector.items())
