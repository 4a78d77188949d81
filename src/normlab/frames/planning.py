"""What a study can find out before it runs: its claims at the planned seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from normlab.frames.claim_words import margin_text
from normlab.frames.load import Frames
from normlab.frames.scores import trials_of
from normlab.frames.verdicts import rules
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.records.plan import ClaimRecord, PlanRecord
from normlab.stats.claims import claim_from, plan_claim
from normlab.stats.intervals import moments
from normlab.stats.sequential import look_alphas
from normlab.stats.survival import Times, restricted_moments

_COLUMNS = (
    "claim", "kind", "metric", "margin", "spread", "source", "smallest_effect", "seeds_needed",
    "power", "settles", "obstacle",
)  # fmt: skip


def claim_plans(plan: PlanRecord, frames: Frames | None = None) -> pd.DataFrame:
    """What the planned seeds can say about each claim.

    Args:
        plan: The study's.
        frames: Results so far: their spread over seeds is what is planned with, if two seeds or
            more of an arm are there; else the spread that the study states.

    Returns:
        A row per claim: `claim`, `kind`, `metric`, `margin` in words, `spread` and its `source`
        (`pilot`, `stated` or empty), `smallest_effect` found with 80 % power, `seeds_needed` for
        the margin, `power` at the planned seeds, `settles` (whether any outcome could settle it)
        and `obstacle`, why not. Effects and spreads are in the metric's own unit, those of `faster`
        fractions of a time.
    """
    rows = [_plan(plan, record, frames) for record in plan.judged]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _plan(plan: PlanRecord, record: ClaimRecord, frames: Frames | None) -> dict[str, object]:
    claim = claim_from(record, plan.labels)
    how = rules(plan, record, frames)
    if plan.sequential:
        how = replace(how, alpha=look_alphas(how.alpha, plan.sequential)[-1])
    seeds = max(plan.sequential, default=len(plan.seeds))
    spread, source = _spread(plan, record, frames)
    found = plan_claim(
        claim, np.full(len(plan.arms), 1.0 if spread is None else spread), seeds, how
    )
    return {
        "claim": record.name,
        "kind": record.kind,
        "metric": record.metric,
        "margin": margin_text(record),
        "spread": spread,
        "source": source,
        "smallest_effect": None if spread is None else found.smallest_effect,
        "seeds_needed": None if spread is None else found.seeds_needed,
        "power": None if spread is None else found.power,
        "settles": bool(found.settles),
        "obstacle": found.settles.reason,
    }


def _spread(
    plan: PlanRecord, record: ClaimRecord, frames: Frames | None
) -> tuple[float | None, str]:
    """Standard deviation over seeds, pooled over arms: a pilot's, or the stated one."""
    if frames is not None:
        trials = trials_of(frames, record)
        if isinstance(trials, Times):
            arms = restricted_moments(trials)
            scale = float(np.nanmean(arms.mean)) if np.isfinite(arms.mean).any() else 1.0
        else:
            arms, scale = moments(trials), 1.0
        enough = arms.seeds >= 2
        if enough.any():
            freedom = arms.seeds[enough] - 1
            pooled = float((arms.variance[enough] * freedom).sum() / freedom.sum())
            return float(np.sqrt(pooled)) / scale, "pilot"
    stated = plan.analysis.spread
    if stated is None or record.metric != plan.analysis.metric:
        return None, ""
    return stated / (100 if METRICS[record.metric].points else 1), "stated"
