"""Claims in words, as every table of them says it: measured, margins, published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from normlab.errors import listing
from normlab.metrics import METRICS
from normlab.stats.claims import Side, Verdict, members


def in_points(claim: Mapping[str, Any]) -> bool:
    """Whether a claim's numbers are shown in points of 100: those of accuracies and their like."""
    return claim["kind"] != "faster" and METRICS[claim["metric"]].points


def measured_text(record: dict[str, Any], found: Verdict, arms: Sequence[str]) -> str:
    """The estimate with its interval and unit: `+0.31 points (95 %: -0.10 to 0.72)`.

    Of several pairs it says which one the numbers are of: `..., layer over batch`.
    """
    if np.isnan(found.estimate):  # no trial of one side yet
        return ""
    scale, unit = (100, " points") if in_points(record) else (1, "")
    if record["kind"] == "faster":
        unit = " s" if record["clock"] == "seconds" else " images"
    text = f"{scale * found.estimate:+.3g}{unit}"
    if np.isfinite((found.low, found.high)).any():  # else too few seeds, or a test without limits
        limits = f"{scale * found.low:.3g} to {scale * found.high:.3g}"
        text += f" ({100 * found.confidence:.3g} %: {limits})"
    return text if found.between is None else f"{text}, {_pair(found.between, arms)}"


def detail_text(found: Verdict, record: dict[str, Any], arms: Sequence[str]) -> str:
    """What a verdict leaves open or rests on, by arm; empty where its reason says it all.

    Of `ranking` the pairs in order, in reverse and open; of `best` what could still be the best
    one or is better than it; of `faster` the trials that reached the target.
    """
    parts: dict[str, list[str]] = {}
    if found.kind == "ranking" and found.verdict != "supported":
        parts = {"In order": [], "In reverse": [], "Open": []}
        for pair in found.pairs:
            key = "In order" if pair.holds else "In reverse" if pair.reversed else "Open"
            parts[key].append(_pair((pair.first, pair.second), arms))
    elif found.kind == "best" and found.pairs and found.verdict != "supported":
        parts["Better"] = [_name(pair.second, arms) for pair in found.pairs if pair.reversed]
        parts["Could be the best"] = [_name(side, arms) for side in found.candidates]
    elif found.successes:
        labels = [label for side in record["sides"] for label in side]
        parts["Reached the target"] = [
            f"{label} {count} of {seeds}"
            for label, count, seeds in zip(
                sorted(labels, key=arms.index), found.successes, found.seeds, strict=True
            )
        ]
    return " ".join(f"{key}: {listing(names)}." for key, names in parts.items() if names)


def _pair(pair: tuple[Side, Side], arms: Sequence[str]) -> str:
    return " over ".join(_name(side, arms) for side in pair)


def _name(side: Side, arms: Sequence[str]) -> str:
    labels = [arms[arm] for arm in members(side)]
    more = f" and {len(labels) - 1} more"
    return labels[0] if len(labels) == 1 else f"the mean over {labels[0]}{more}"


def margin_text(record: dict[str, Any]) -> str:
    """A claim's margin with its unit."""
    if record["kind"] == "faster":
        return f"{100 * record['margin']:g} %"
    unit = METRICS[record["metric"]]
    return f"{100 * record['margin']:g} points" if unit.points else f"{record['margin']:g}"


def published_text(plan: dict[str, Any], record: dict[str, Any], most: int = 8) -> str:
    """What the source printed: the claim's own numbers, else those of its arms; empty if neither.

    Args:
        plan: As recorded: `published` has the source's numbers by arm.
        record: The claim.
        most: Arms to name; more are not.
    """
    own = record.get("published") or {}
    if own:
        return ", ".join(f"{name} {value}" for name, value in own.items())
    labels = [label for side in record.get("sides", []) for label in side]
    found = [
        f"{' and '.join(row['arms'])} {row['values'][record['metric']]}"
        for row in plan.get("published", [])
        if set(row["arms"]) <= set(labels) and record["metric"] in row["values"]
    ]
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
