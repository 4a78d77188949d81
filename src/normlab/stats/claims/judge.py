"""From trials to a verdict, and how likely each verdict is: the same functions for every claim."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.stats.claims.claim import Claim, MeanClaim
from normlab.stats.claims.evidence import by_t
from normlab.stats.claims.settle import seeds_to_settle, smallest_settled
from normlab.stats.claims.verdict import Rules, Verdict
from normlab.stats.contrasts import Estimates
from normlab.stats.survival import Times
from normlab.wording import OUT_OF_REACH


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
    judged, designs = claim.judge(trials, rules, np.random.default_rng(0) if rng is None else rng)
    alpha = rules.claim_alpha if settle_alpha is None else settle_alpha
    settle = seeds_to_settle(claim, judged, designs, rules, alpha=alpha)
    far = judged.verdict == "inconclusive" and designs and (settle is None or settle > OUT_OF_REACH)
    reachable = smallest_settled(claim, designs, rules, alpha=alpha) if far else None
    return replace(judged, seeds_to_settle=settle, reachable=reachable)


def decide(
    claim: Claim, found: Estimates, alpha: float, margin: float | None = None
) -> npt.NDArray[np.int8]:
    """Verdicts on a claim: +1 supported, -1 refuted, 0 inconclusive, over leading axes.

    Args:
        claim: Whose row of the table.
        found: Estimates of its contrasts (..., contrasts).
        alpha: What it is tested at.
        margin: In the unit of the estimates; the claim's own if not given.
    """
    row = claim.row(found, alpha, claim.margin if margin is None else margin)
    return np.asarray(row.supported, dtype=np.int8) - np.asarray(row.refuted, dtype=np.int8)


class Chances(NamedTuple):
    """How likely each verdict is."""

    supported: float
    refuted: float
    inconclusive: float


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
    found = by_t(scores - claim.null, claim.contrasts(len(means)), rules)
    codes = decide(claim, found, rules.claim_alpha)
    supported, refuted = float((codes == 1).mean()), float((codes == -1).mean())
    return Chances(supported, refuted, 1 - supported - refuted)
