"""What a study can find out before it runs: its claims at the planned seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from normlab.frames.claim_words import margin_text
from normlab.frames.judging import rules
from normlab.frames.load import Frames
from normlab.frames.scores import trials_of
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.records.plan import ClaimRecord, PlanRecord
from normlab.stats.claims import CLAIMS, Claim, ClaimPlan, Rules, claim_from, plan_claim
from normlab.stats.contrasts import FEWEST
from normlab.stats.intervals import Values, moments
from normlab.stats.sequential import look_alphas
from normlab.stats.survival import Times, restricted_moments
from normlab.wording import OUT_OF_REACH

_COLUMNS = (
    "claim", "kind", "metric", "unit", "margin", "spread", "source", "smallest_effect",
    "seeds_needed", "reachable", "power", "settles", "obstacle", "correlation", "seeds_paired",
    "seeds_unpaired",
)  # fmt: skip


def claim_plans(
    plan: PlanRecord, frames: Frames | None = None, *, pilot: str = "pilot"
) -> pd.DataFrame:
    """What the planned seeds can say about each claim.

    Args:
        plan: The study's.
        frames: Results so far: their spread over seeds is what is planned with, if two seeds or
            more of an arm are there; else the spread that the study states.
        pilot: What the source of a spread from these results is called.

    Returns:
        A row per claim: `claim`, `kind`, `metric`, the `unit` of its differences, `margin` in
        words, `spread` and its `source` (the `pilot`'s name, `stated` or empty), `smallest_effect`
        found with 80 % power, `seeds_needed` for the margin (and, where those are more than 200,
        the smallest margin `reachable` with so many), `power` at the planned seeds, `settles`
        (whether any outcome could settle it) and `obstacle`, why not. Effects and spreads are in
        the metric's own unit; where the unit is `%`, fractions of a time. `correlation` is that
        of the claim's arms over the seeds that they share, from three on; `seeds_paired` and
        `seeds_unpaired` are what the margin needs in either case.
    """
    rows = [_plan(plan, record, frames) for record in plan.judged]
    for row in rows:
        row["source"] = pilot if row["source"] == "pilot" else row["source"]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _plan(plan: PlanRecord, record: ClaimRecord, frames: Frames | None) -> dict[str, object]:
    claim = claim_from(record, plan.labels)
    how = rules(plan, record, frames)
    if plan.sequential:
        how = replace(how, alpha=look_alphas(how.alpha, plan.sequential)[-1])
    seeds = max(plan.sequential, default=len(plan.seeds))
    trials = None if frames is None else trials_of(frames, record)
    spread, source = _spread(plan, record, trials, claim.arms)
    correlation = _correlation(trials, claim.arms)

    def planned(paired: bool) -> ClaimPlan:
        spreads = np.full(len(plan.arms), 1.0 if spread is None else spread)
        known = (correlation or 0.0) if paired else 0.0
        return plan_claim(claim, spreads, seeds, replace(how, paired=paired), correlation=known)

    found = planned(how.paired)
    other = None if correlation is None or spread is None else planned(not how.paired)
    ways = {how.paired: found.seeds_needed, not how.paired: other.seeds_needed if other else None}
    return {
        "claim": record.name,
        "kind": record.kind,
        "metric": record.metric,
        "unit": CLAIMS[record.kind].planned_unit(record).name,
        "margin": margin_text(record),
        "spread": spread,
        "source": source,
        "smallest_effect": None if spread is None else found.smallest_effect,
        "seeds_needed": None if spread is None else found.seeds_needed,
        "reachable": None if spread is None else _reachable(claim, spread, how, found),
        "power": None if spread is None else found.power,
        "settles": bool(found.settles),
        "obstacle": found.settles.reason,
        "correlation": correlation,
        "seeds_paired": ways[True] if other else None,
        "seeds_unpaired": ways[False] if other else None,
    }


def _reachable(claim: Claim, spread: float, how: Rules, found: ClaimPlan) -> float | None:
    """The smallest margin that `OUT_OF_REACH` seeds show, where the claim's needs more."""
    if found.seeds_needed is not None and found.seeds_needed <= OUT_OF_REACH:
        return None
    spreads = np.full(max(claim.arms) + 1, spread)
    return plan_claim(claim, spreads, OUT_OF_REACH, how).smallest_effect


def _spread(
    plan: PlanRecord, record: ClaimRecord, trials: Values | Times | None, arms: tuple[int, ...]
) -> tuple[float | None, str]:
    """Standard deviation over seeds, pooled over arms: a pilot's, or the stated one.

    The pilot's is that of the claim's own arms, if any of them has two seeds.
    """
    if trials is not None:
        every = restricted_moments(trials) if isinstance(trials, Times) else moments(trials)
        enough = every.seeds >= 2
        own = np.isin(np.arange(len(enough)), arms) & enough
        used = own if own.any() else enough
        if used.any():
            freedom = every.seeds[used] - 1
            pooled = float((every.variance[used] * freedom).sum() / freedom.sum())
            fraction = record.relative or isinstance(trials, Times)
            scale = abs(float(every.mean[used].mean())) if fraction else 1.0
            return float(np.sqrt(pooled)) / scale, "pilot"
    stated = plan.analysis.spread
    if stated is None or record.metric != plan.analysis.metric or record.relative:
        return None, ""
    return stated / (100 if METRICS[record.metric].points else 1), "stated"


def _correlation(trials: Values | Times | None, arms: tuple[int, ...]) -> float | None:
    """Mean correlation between the claim's arms over the seeds that all of them have."""
    if trials is None or isinstance(trials, Times) or len(arms) < 2:
        return None
    scores = trials[list(arms)]
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    if scores.shape[1] < FEWEST:
        return None
    covariance = np.cov(scores)
    own = float(np.trace(covariance)) / len(arms)
    between = float(covariance.sum() - np.trace(covariance)) / (len(arms) * (len(arms) - 1))
    return min(max(between / own, -1 / len(arms)), 0.999) if own > 0 else None
