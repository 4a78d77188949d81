"""From trials to a verdict: one function for every claim, over arrays of scores or times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from normlab.errors import UserError
from normlab.stats.best import compare_with_best
from normlab.stats.claims import reasons
from normlab.stats.claims.base import Rules, Verdict
from normlab.stats.claims.evidence import estimates
from normlab.stats.claims.kinds import Best, Claim, Faster, MeanClaim, Side, indicator
from normlab.stats.claims.outcome import outcome
from normlab.stats.claims.settle import observed_designs, seeds_to_settle
from normlab.stats.contrasts import Estimates, pair_weights, welch
from normlab.stats.intervals import Values, moments
from normlab.stats.power import Design
from normlab.stats.survival import Times, restricted_difference, restricted_moments


def verdict(
    claim: Claim,
    trials: npt.ArrayLike | Times,
    rules: Rules,
    rng: np.random.Generator | None = None,
    *,
    settle_alpha: float | None = None,
) -> Verdict:
    """Judge one claim.

    Args:
        claim: What is said, by arm indices.
        trials: Scores (arms, seeds), higher is better, NaN for trials that do not count; `Times`
            for `Faster`, which takes no notice of `rules.paired`.
        rules: How claims are tested.
        rng: For permutation tests with too many arrangements to count them all: a new one per
            claim, so that no verdict depends on another. A fixed one if not given.
        settle_alpha: What the seeds to settle are planned at, if not at the claim's alpha.

    Raises:
        UserError: The wrong kind of trials, or a permutation test of a claim that has none.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(claim, Faster):
        if not isinstance(trials, Times):
            raise UserError("faster: needs times, not scores")
        judged, designs = _of_times(claim, trials, rules, rng)
    elif isinstance(trials, Times):
        raise UserError(f"{claim.kind}: needs scores, not times")
    else:
        judged, designs = _of_scores(claim, np.asarray(trials, dtype=float), rules, rng)
    alpha = rules.claim_alpha if settle_alpha is None else settle_alpha
    settle = seeds_to_settle(claim, judged, designs, rules, alpha=alpha)
    return replace(judged, seeds_to_settle=settle)


Judged = tuple[Verdict, list[Design]]
"""A verdict with the contrasts and their spreads, where there are enough seeds to know them."""


def _of_scores(claim: MeanClaim, scores: Values, rules: Rules, rng: np.random.Generator) -> Judged:
    if rules.paired:  # only the seeds that every arm of the claim has
        complete = ~np.isnan(scores[list(claim.arms)]).any(axis=0)
        scores = np.where(complete, scores, np.nan)
    arms, weights = moments(scores), claim.contrasts(len(scores))
    seeds = tuple(int(count) for count in arms.seeds[list(claim.arms)])
    if min(seeds) < 2:
        return _unknown(claim, welch(arms, weights).estimate, rules, seeds), []
    found = estimates(claim, scores, weights, rules, rng)
    judged = outcome(claim, found, alpha=rules.claim_alpha, margin=claim.margin, seeds=seeds)
    if isinstance(claim, Best):
        sides = np.vstack([indicator(side, len(scores)) for side in claim.sides])
        every = estimates(claim, scores, pair_weights(len(sides)) @ sides, rules, rng)
        judged = replace(judged, candidates=_candidates(claim, every, judged))
    return judged, observed_designs(scores, weights, rules)


def _of_times(claim: Faster, study: Times, rules: Rules, rng: np.random.Generator) -> Judged:
    arms = restricted_moments(study)
    margin = claim.margin * float(arms.mean[claim.second])
    seeds = tuple(int(arms.seeds[arm]) for arm in claim.arms)
    successes = tuple(study.successes(arm) for arm in claim.arms)
    if min(seeds) < 2 or not any(successes):
        difference = float(arms.mean[claim.second] - arms.mean[claim.first])
        judged = _unknown(claim, np.array([difference]), rules, seeds)
        return replace(judged, margin=margin, successes=successes), []
    found = restricted_difference(study, claim.first, claim.second, rng)
    judged = outcome(claim, found, alpha=rules.claim_alpha, margin=margin, seeds=seeds)
    design = Design(tuple(np.sqrt(arms.variance[list(claim.arms)])))
    return replace(judged, successes=successes), [design]


def _unknown(claim: Claim, seen: Values, rules: Rules, seeds: tuple[int, ...]) -> Verdict:
    at = int(seen.argmin())
    return Verdict(
        kind=claim.kind,
        verdict="inconclusive",
        reason=reasons.TOO_FEW if min(seeds) < 2 else reasons.NEVER_REACHED,
        estimate=float(seen[at]),
        low=np.nan,
        high=np.nan,
        confidence=1 - rules.claim_alpha,
        p=np.nan,
        alpha=rules.claim_alpha,
        margin=claim.margin,
        seeds=seeds,
        between=claim.pairs[at] if claim.pairs else None,
        candidates=claim.candidates,
    )


def _candidates(claim: Best, every: Estimates, judged: Verdict) -> tuple[Side, ...]:
    if judged.verdict == "supported":
        return (claim.side,)
    # Limits are two-sided throughout, so half of alpha is left for the upper ones.
    excluded = compare_with_best(every, len(claim.sides), alpha=judged.alpha / 2).excluded
    return tuple(side for side, out in zip(claim.sides, excluded, strict=True) if not out)
