"""Claims as a study's plan records them: plain data, arms by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from normlab.stats.claims.kinds import KINDS, Claim, Side


def claim_from(record: Mapping[str, Any], arms: Sequence[str]) -> Claim:
    """The claim over arm indices that a plan's record stands for."""
    place = {label: index for index, label in enumerate(arms)}
    sides: list[Side] = []
    for labels in record["sides"]:
        found = tuple(place[label] for label in labels)
        sides.append(found[0] if len(found) == 1 else found)
    kind, margin, test = record["kind"], record["margin"], record["test"]
    made: Any = KINDS[kind]
    match kind:
        case "best":
            return made(sides[0], tuple(sides[1:]), margin, test)  # type: ignore[no-any-return]
        case "ranking":
            return made(tuple(sides), margin, test)  # type: ignore[no-any-return]
        case "trend":
            levels = tuple(float(level) for level in record["levels"])
            return made(tuple(sides), margin, levels, record["contrast"], test)  # type: ignore[no-any-return]
        case _:
            return made(*sides, margin, test)  # type: ignore[no-any-return]
