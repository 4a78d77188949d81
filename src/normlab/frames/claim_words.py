"""Claims in words, as every table of them says it: measured, margins, published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from normlab.errors import listing
from normlab.records.plan import Claim, ClaimRecord, PlanRecord, TimeRecord
from normlab.stats.claims import CLAIMS, Rules, Verdict, claim_from
from normlab.stats.claims.evidence import by_t
from normlab.stats.claims.sides import pair_text
from normlab.stats.intervals import Values
from normlab.wording import quantity, short

_ENOUGH_LEFT = 5
"""Trials of an arm from which on unequal numbers do the t test's level no harm; see planted.py."""


def measured_text(record: ClaimRecord, found: Verdict, arms: Sequence[str]) -> str:
    """The estimate with its interval and unit: `+0.31 points (95 %: -0.10 to 0.72)`.

    Of several pairs it says which one the numbers are of: `..., layer over batch`.
    """
    if np.isnan(found.estimate):  # no trial of one side yet
        return ""
    kind = CLAIMS[record.kind]
    unit, (estimate, low, high) = kind.unit(record), kind.as_measured(found, record)
    text = quantity(short(unit.scale * estimate, sign=True), unit.name)
    if np.isfinite((low, high)).any():  # else too few seeds, or a test without limits
        limits = f"{short(unit.scale * low)} to {short(unit.scale * high)}"
        text += f" ({100 * found.confidence:.3g} %: {limits})"
    return text if found.between is None else f"{text}, {pair_text(found.between, arms)}"


def detail_text(record: ClaimRecord, found: Verdict, arms: Sequence[str]) -> str:
    """What a verdict leaves open or rests on, by arm; empty where its reason says it all."""
    parts = CLAIMS[record.kind].details(found, record, arms)
    return " ".join(f"{key}: {listing(names)}." for key, names in parts.items() if names)


def few_left_text(found: Verdict) -> str:
    """What is to be known where some arms lost trials; empty where they have equally many."""
    fewest, most = min(found.seeds), max(found.seeds)
    if fewest == most or np.isnan(found.low) or fewest >= _ENOUGH_LEFT:
        return ""
    return (
        f"Its arms have {fewest} to {most} trials: if an arm with few of them varies more than the "
        "others, the test errs in up to 7 % of studies instead of 5 %, with skewed scores in 15 %."
    )


def cells_text(record: ClaimRecord, scores: Values, how: Rules, arms: Sequence[str]) -> str:
    """In how many cells of other factors the means agree with a claim, and in which they do not.

    Args:
        record: The claim, with the cells.
        scores: (arms, seeds), NaN for missing.
        how: How it is tested.
        arms: Labels, in the order of the scores.
    """
    agree, against = 0, []
    for cell in record.cells:
        claim = claim_from(record.model_copy(update={"sides": cell.sides}), arms)
        found = by_t(scores - claim.null, claim.contrasts(len(arms)), how).estimate
        if np.isfinite(found).all():
            agree += claim.agrees(found)
            against += [] if claim.agrees(found) else [cell.cell]
    known = agree + len(against)
    if not known:
        return ""
    text = f"The means agree in {agree} of {known} cells"
    return f"{text}; not at {', '.join(against)}." if against else f"{text}."


def margin_text(record: ClaimRecord) -> str:
    """A claim's margin with its unit."""
    return CLAIMS[record.kind].planned_unit(record).text(record.margin)


def time_text(time: TimeRecord | None) -> str:
    """What a claim about time measures: `seconds to 0.9`."""
    return f"{time.clock} to {time.target:g}" if time else ""


def published_text(plan: PlanRecord, record: Claim, most: int = 8) -> str:
    """What the source printed: the claim's own numbers, else those of its arms; empty if neither.

    Args:
        plan: Its `published` has the source's numbers by arm.
        record: The claim.
        most: Arms to name; more are not.
    """
    if not isinstance(record, ClaimRecord):
        return ""
    if record.published:
        return ", ".join(f"{name} {value}" for name, value in record.published.items())
    found = [
        f"{' and '.join(row.arms)} {row.values[record.metric]}"
        for row in plan.published
        if set(row.arms) <= set(record.arms)
        and record.metric in row.values
        and row.is_beside(record.at)
    ]
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
