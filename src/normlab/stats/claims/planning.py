"""What a study can find out before it runs: per claim, from spreads of a pilot or stated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from normlab.stats.claims.claim import Claim
from normlab.stats.claims.settle import Settles, could_settle, fewest_for_permutation
from normlab.stats.claims.verdict import Rules


@dataclass(frozen=True)
class ClaimPlan:
    """What `seeds` seeds per arm can say about a claim.

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
    designs = claim.planned_designs(spreads, rules, correlation)
    # Each of several pairs must hold: their powers' shortfalls add up at most.
    power = 1 - (1 - rules.power) / len(designs)
    at = {"alpha": alpha, "power": power}
    planner = claim.planner
    needed = [claim.fewest, *(planner.seeds(design, claim.margin, **at) for design in designs)]
    if claim.test == "permutation":
        needed.append(fewest_for_permutation(claim, rules, alpha=alpha))
    missed, effect = 1.0, float("nan")
    if settles.supported:
        effect = max(planner.smallest(design, seeds, **at) for design in designs)
        missed = sum(
            1 - planner.power(design, claim.margin, seeds, alpha=alpha) for design in designs
        )
    return ClaimPlan(
        alpha=alpha,
        smallest_effect=effect,
        seeds_needed=None if None in needed else max(n for n in needed if n is not None),
        power=max(0.0, 1 - missed),
        settles=settles,
    )
