"""From a study file's claims to arms: the record that the store keeps and the report judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from normlab.errors import UserError, listing, unknown
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
        UserError: A claim names arms or levels that are not there, has an arm on two sides or needs
            a margin, or two claims have one name.
    """
    given = [claim.name for claim in claims if claim.name]
    for name in given:
        if given.count(name) > 1:
            raise UserError(f"claims: two of them have the name '{name}'")
    records: list[dict[str, Any]] = []
    for number, claim in enumerate(claims, start=1):
        try:
            record = _record(claim, analysis, arms, data, strict=strict)
        except UserError as error:
            where = f"claim {claim.name or number}"
            if strict:
                raise UserError(f"{where}: {error}") from None
            head = {"name": claim.name or f"{number}", "kind": claim.kind, "says": claim.says}
            record = {**head, "unresolved": str(error)}
        if not claim.name:
            record["name"] = _apart(record["name"], [*given, *(r["name"] for r in records)])
        records.append(record)
    return records


def _apart(name: str, others: Sequence[str]) -> str:
    """A made name, with a number where another claim has it: of another metric, say."""
    number, found = 1, name
    while found in others:
        number += 1
        found = f"{name} ({number})"
    return found


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
            rows.append({"arms": pick(row.arm, arms, strict=strict), "values": dict(row.values)})
        except UserError as error:
            if strict:
                raise UserError(f"published: {error}") from None
    return rows


def pick(selector: Selector, arms: Arms, *, strict: bool) -> list[str]:
    """Labels of the arms that a selector fits, in the plan's order.

    Args:
        selector: A label, or levels.
        arms: To pick from.
        strict: Whether each of several levels wanted must be there: a variant may lack some.

    Raises:
        UserError: No such label, no arm with such a factor or level, or no arm that fits.
    """
    if isinstance(selector, str):
        if selector not in arms:
            raise UserError(unknown("arm", selector, arms))
        return [selector]
    if not selector:
        raise UserError("{} picks every arm: name levels, or an arm's label")
    for key, wanted in selector.items():
        _check_levels(key, wanted, arms, strict=strict)
    found = [label for label, levels in arms.items() if _fits(levels, selector)]
    if not found:
        shown = [*arms][:_SHOWN] + (["..."] if len(arms) > _SHOWN else [])
        raise UserError(f"no arm has {value_text(selector)}; the arms are: {listing(shown)}")
    return found


def _check_levels(key: str, wanted: Any, arms: Arms, *, strict: bool) -> None:
    """A factor's name, and in a list of levels each of them, is one that arms have."""
    known = dict.fromkeys(key for levels in arms.values() for key in levels)
    if key not in known:
        raise UserError(unknown("factor", key, known))
    there = [levels[key] for levels in arms.values() if key in levels]
    if (
        not strict
        or not isinstance(wanted, list)
        or any(is_level(level, wanted) for level in there)
    ):
        return
    for one in wanted:
        if not any(is_level(level, one) for level in there):
            texts = dict.fromkeys(value_text(level) for level in there)
            raise UserError(f"{key} has no level {value_text(one)}; it has {', '.join(texts)}")


def _fits(levels: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        key in levels
        and (is_level(levels[key], v) or (isinstance(v, list) and _is_any(levels[key], v)))
        for key, v in wanted.items()
    )


def _is_any(level: Any, wanted: list[Any]) -> bool:
    return any(is_level(level, one) for one in wanted)


def _record(
    claim: AnyClaim, analysis: Analysis, arms: Arms, data: set[str], *, strict: bool
) -> dict[str, Any]:
    levels = _levels(claim, arms, strict=strict)
    sides = [pick(selector, arms, strict=strict) for selector in claim.sides(levels)]
    if isinstance(claim, Best) and claim.over is None:
        sides += [[label] for label in arms if label not in sides[0]]
    if len(sides) < 2:
        raise UserError(f"'{claim.kind}' compares arms, and there is none beside {sides[0][0]}")
    for label, places in Counter(label for side in sides for label in side).items():
        if places > 1:
            raise UserError(f"the arm '{label}' is on two sides")
    if isinstance(claim, Faster):
        for selector, side in zip(claim.sides(levels), sides, strict=True):
            if len(side) > 1:
                raise UserError(
                    f"'faster' compares one arm with one, and {_text(selector)} fits "
                    f"{len(side)}: {listing(side)}"
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
        "test": claim.test,
        "sides": sides,
        "levels": [-v if falls else v for v in levels] if numeric else [],
    }
    for key in ("contrast", "target", "split", "clock", "hold"):
        if key in type(claim).model_fields:
            record[key] = getattr(claim, key)
    return {**record, "hash": digest({key: record.get(key) for key in _DECISIVE})[:12]}


def _levels(claim: AnyClaim, arms: Arms, *, strict: bool) -> list[Any]:
    if not isinstance(claim, Trend):
        return []
    if claim.within:
        pick(claim.within, arms, strict=strict)
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
    name = claim.metric or analysis.metric
    metric = METRICS[name]
    margin = claim.margin or (analysis.margin if name == analysis.metric else None)
    if margin is None:
        if not metric.points:
            text = f"the metric '{name}' has no usual margin: give the claim one"
            if analysis.margin:
                text += f" (that of analysis is of {analysis.metric})"
            raise UserError(text)
        margin = 0.1 if data <= _FINE else 0.3
    return margin / 100 if metric.points else margin


def _words(claim: AnyClaim, levels: list[Any]) -> str:
    """A claim without a name, in words: its kind and what its arms are picked by."""
    if isinstance(claim, Trend):
        place = f" within {_text(claim.within)}" if claim.within else ""
        does = "has a hump" if claim.contrast == "hump" else claim.direction
        return f"{claim.factor} {does}{place}"
    texts = [_text(selector) for selector in claim.sides(levels)]
    if isinstance(claim, Best) and claim.over is None:
        texts.append("every other")
    return f"{claim.kind}: " + (" > " if claim.kind == "ranking" else ", ").join(texts)


def _text(selector: Selector) -> str:
    if isinstance(selector, str):
        return selector
    return " ".join(f"{key}={value_text(value)}" for key, value in selector.items())
