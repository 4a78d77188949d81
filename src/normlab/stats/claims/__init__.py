"""Claims: what can be said of arms, how it is judged, and what seeds it takes.

A kind of claim is one class in one file here; `CLAIMS` is the catalog. Everything else is the same
for all of them: the verdict (`judge`), looks, planning.
"""

from __future__ import annotations

from collections.abc import Sequence

from normlab.deprecated import renamed
from normlab.records.plan import ClaimRecord
from normlab.stats.claims.at_least import AtLeast
from normlab.stats.claims.best import Best
from normlab.stats.claims.better import Better
from normlab.stats.claims.claim import Claim, MeanClaim, Unit
from normlab.stats.claims.equal import Equal
from normlab.stats.claims.faster import Faster
from normlab.stats.claims.interaction import Interaction
from normlab.stats.claims.judge import Chances, decide, predict, verdict
from normlab.stats.claims.keys import ClaimKeys
from normlab.stats.claims.looks import verdict_at_looks
from normlab.stats.claims.not_better import NotBetter
from normlab.stats.claims.planning import ClaimPlan, plan_claim
from normlab.stats.claims.ranking import Ranking
from normlab.stats.claims.settle import Settles, could_settle
from normlab.stats.claims.sides import Side, members
from normlab.stats.claims.trend import Trend
from normlab.stats.claims.verdict import Pair, Rules, Verdict

CLAIMS: dict[str, type[Claim]] = {
    "better": Better,
    "not_better": NotBetter,
    "best": Best,
    "equal": Equal,
    "at_least": AtLeast,
    "ranking": Ranking,
    "trend": Trend,
    "interaction": Interaction,
    "faster": Faster,
}
"""Kind -> class; the same name stands in a study file and in the report."""


def claim_from(record: ClaimRecord, arms: Sequence[str]) -> Claim:
    """The claim over arm indices that a plan's record stands for.

    Args:
        record: The claim, its arms by label.
        arms: Labels in the order of the indices.
    """
    place = {label: index for index, label in enumerate(arms)}
    sides = [tuple(place[label] for label in labels) for labels in record.sides]
    return CLAIMS[record.kind].of(record, [s[0] if len(s) == 1 else s for s in sides])


def __getattr__(name: str) -> object:
    if name == "KINDS":
        renamed("normlab.stats.claims.KINDS", "CLAIMS")
        return CLAIMS
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


__all__ = [
    "CLAIMS",
    "AtLeast",
    "Best",
    "Better",
    "Chances",
    "Claim",
    "ClaimKeys",
    "ClaimPlan",
    "Equal",
    "Faster",
    "Interaction",
    "MeanClaim",
    "NotBetter",
    "Pair",
    "Ranking",
    "Rules",
    "Settles",
    "Side",
    "Trend",
    "Unit",
    "Verdict",
    "claim_from",
    "could_settle",
    "decide",
    "members",
    "plan_claim",
    "predict",
    "verdict",
    "verdict_at_looks",
]
