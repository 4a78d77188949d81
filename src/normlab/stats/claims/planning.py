"""What a study can find out before it runs: per claim, from spreads of a pilot or stated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.stats.claims.base import Rules
from normlab.stats.claims.kinds import Claim, Equal, Faster, MeanClaim, differences
from normlab.stats.claims.rows import REFUTED, SUPPORTED, decide
from normlab.stats.claims.settle import Settles, could_settle, fewest_for_permutation
from normlab.stats.contrasts import paired, welch
from normlab.stats.intervals import Values, moments
from normlab.stats.power import (
    Design,
    better_power,
    equal_power,
    seeds_for_better,
    seeds_for_equal,
    smallest_effect,
    smallest_margin,
)


@dataclass(frozen=True)
class ClaimPlan:
    """What `seeds` seeds an arm can say about a claim.

    Attributes:
        alpha: What the claim is tested at.
        smallest_effect: Found with the declared power: the smallest difference, in the scores'
            unit; of `equal` the smallest margin; of `faster` a fraction of the second arm's time;
            of `best` and `ranking` the smallest that all pairs must have. NaN where no effect,
            however large, would be found.
        seeds_needed: Seeds an arm that settle the claim with that power, if the truth is the
            margin (`equal`: no difference); None for more than `power.MOST_SEEDS`.
        power: Chance that the claim is supported at the planned seeds, if that is the truth; of
            `best` and `ranking` at least that (`predict` says how much).
        settles: Whether any outcome could settle it.
    """

    alpha: float
    smallest_effect: float
    seeds_needed: int | None
    power: float
    settles: Settles


class Chances(NamedTuple):
    """How likely each verdict is."""

    supported: float
    refuted: float
    inconclusive: float


def plan_claim(
    claim: Claim,
    spreads: npt.ArrayLike,
    seeds: int,
    rules: Rules,
    *,
    correlation: float = 0.0,
    span: float = 1.0,
) -> ClaimPlan:
    """Plan one claim; tests by permutation are planned as the t tests they come close to.

    Args:
        claim: What is to be shown.
        spreads: Standard deviation over seeds of each arm (arms,), in the scores' unit; for
            `Faster` as a fraction of the second arm's restricted mean.
        seeds: Seeds an arm that are planned.
        rules: How claims will be tested.
        correlation: Of paired arms, between the scores of one seed.
        span: Largest difference of two scores.
    """
    spreads = np.asarray(spreads, dtype=float)
    alpha = rules.claim_alpha
    settles = could_settle(claim, seeds, rules, arms=len(spreads), span=span)
    if isinstance(claim, Faster):
        weights = differences(claim.first, (claim.second,), len(spreads))
        rules = Rules(rules.alpha, rules.family, power=rules.power)
    else:
        weights = claim.contrasts(len(spreads))
    designs = [_design(row, spreads, rules, correlation) for row in weights]
    # Each of several pairs must hold: their powers' shortfalls add up at most.
    power = 1 - (1 - rules.power) / len(designs)
    at = {"alpha": alpha, "power": power}
    needs, finds, chance = (
        (seeds_for_equal, smallest_margin, equal_power)
        if isinstance(claim, Equal)
        else (seeds_for_better, smallest_effect, better_power)
    )
    needed = [needs(design, claim.margin, **at) for design in designs]
    if claim.test == "permutation":
        needed.append(fewest_for_permutation(claim, rules, alpha=alpha))
    missed, effect = 1.0, float("nan")
    if settles.supported:
        effect = max(finds(design, seeds, **at) for design in designs)
        missed = sum(1 - chance(design, claim.margin, seeds, alpha=alpha) for design in designs)
    return ClaimPlan(
        alpha=alpha,
        smallest_effect=effect,
        seeds_needed=None if None in needed else max(n for n in needed if n is not None),
        power=max(0.0, 1 - missed),
        settles=settles,
    )


def predict(
    claim: MeanClaim,
    means: npt.ArrayLike,
    spreads: npt.ArrayLike,
    seeds: int,
    *,
    rules: Rules,
    rng: np.random.Generator,
    correlation: float = 0.0,
    draws: int = 10_000,
) -> Chances:
    """How likely each verdict is if the arms have these means: the procedure on drawn studies.

    Args:
        claim: What is said; tested by t whatever its `test`.
        means: True mean of each arm (arms,).
        spreads: Standard deviation over seeds of each arm (arms,), normal.
        seeds: Seeds an arm.
        rules: How claims are tested.
        rng: Draws the studies.
        correlation: Of paired arms, between the scores of one seed.
        draws: Studies; 10,000 give each chance to within 1 point.
    """
    means, spreads = np.asarray(means, dtype=float), np.asarray(spreads, dtype=float)
    noise = rng.standard_normal((draws, len(means), seeds))
    if correlation:
        shared = rng.standard_normal((draws, 1, seeds))
        noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * noise
    scores = means[:, None] + spreads[:, None] * noise
    weights = claim.contrasts(len(means))
    if rules.paired:
        found = paired(scores, weights, variance_floor=rules.variance_floor)
    else:
        found = welch(moments(scores), weights, variance_floor=rules.variance_floor)
    codes = decide(claim, found, rules.claim_alpha)
    supported, refuted = float((codes == SUPPORTED).mean()), float((codes == REFUTED).mean())
    return Chances(supported, refuted, 1 - supported - refuted)


def _design(row: Values, spreads: Values, rules: Rules, correlation: float) -> Design:
    used = row != 0
    if not rules.paired:
        return Design(tuple(spreads[used]), tuple(row[used]), rules.variance_floor)
    parts = row * spreads
    variance = (1 - correlation) * np.square(parts).sum() + correlation * parts.sum() ** 2
    floor = rules.variance_floor * float(np.square(row).sum())
    return Design((float(np.sqrt(variance)),), (1.0,), floor)
