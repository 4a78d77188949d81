"""Claims: what can be said of arms, how it is judged, and what seeds it takes."""

from normlab.stats.claims.base import Pair, Rules, Verdict
from normlab.stats.claims.judge import verdict
from normlab.stats.claims.kinds import (
    CONTRASTS,
    KINDS,
    Best,
    Better,
    Claim,
    Equal,
    Faster,
    Interaction,
    MeanClaim,
    Ranking,
    Side,
    Trend,
    members,
)
from normlab.stats.claims.looks import verdict_at_looks
from normlab.stats.claims.planning import Chances, ClaimPlan, plan_claim, predict
from normlab.stats.claims.record import claim_from
from normlab.stats.claims.rows import decide
from normlab.stats.claims.settle import Settles, could_settle

__all__ = [
    "CONTRASTS",
    "KINDS",
    "Best",
    "Better",
    "Chances",
    "Claim",
    "ClaimPlan",
    "Equal",
    "Faster",
    "Interaction",
    "MeanClaim",
    "Pair",
    "Ranking",
    "Rules",
    "Settles",
    "Side",
    "Trend",
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
