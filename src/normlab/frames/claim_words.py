"""Claims in words, as every table of them says it: measured, margins, published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from normlab.errors import listing
from normlab.records.plan import Claim, ClaimRecord, PlanRecord, TimeRecord
from normlab.stats.claims import CLAIMS, Verdict
from normlab.stats.claims.sides import pair_text


def measured_text(record: ClaimRecord, found: Verdict, arms: Sequence[str]) -> str:
    """The estimate with its interval and unit: `+0.31 points (95 %: -0.10 to 0.72)`.

    Of several pairs it says which one the numbers are of: `..., layer over batch`.
    """
    if np.isnan(found.estimate):  # no trial of one side yet
        return ""
    unit = CLAIMS[record.kind].unit(record)
    text = unit.text(found.estimate, "+.3g")
    if np.isfinite((found.low, found.high)).any():  # else too few seeds, or a test without limits
        limits = f"{unit.scale * found.low:.3g} to {unit.scale * found.high:.3g}"
        text += f" ({100 * found.confidence:.3g} %: {limits})"
    return text if found.between is None else f"{text}, {pair_text(found.between, arms)}"


def detail_text(record: ClaimRecord, found: Verdict, arms: Sequence[str]) -> str:
    """What a verdict leaves open or rests on, by arm; empty where its reason says it all."""
    parts = CLAIMS[record.kind].details(found, record, arms)
    return " ".join(f"{key}: {listing(names)}." for key, names in parts.items() if names)


def margin_text(record: ClaimRecord) -> str:
    """A claim's margin with its unit."""
    return CLAIMS[record.kind].planned_unit(record.metric).text(record.margin)


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
        if set(row.arms) <= set(record.arms) and record.metric in row.values
    ]
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
