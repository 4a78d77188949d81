"""Aggregates over many seeds: the interquartile mean and the stratified bootstrap.

    IQM = mean of the middle half of all scores of all strata

As in Agarwal et al. 2021 (rliable): a stratum is a task, here an arm at one level of the other
factors; its seeds are drawn with replacement within it, and limits are percentiles. Differs from
rliable in refusing limits below 10 seeds: at 3 seeds its "95 %" covers 0.75.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from normlab.stats.intervals import Intervals, Values

FEWEST_SEEDS = 10
_AT_ONCE = 1_000_000
"""Scores drawn at once: of thousands of seeds all draws together would take gigabytes."""

Aggregate = Callable[[Values], Values]


def iqm(scores: Values) -> Values:
    """Interquartile mean over the last two axes (..., strata, seeds), no missing scores."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    middle: Values = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return middle


def stratified_bootstrap(
    scores: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    aggregate: Aggregate = iqm,
    draws: int = 2000,
    confidence: float = 0.95,
) -> Intervals:
    """An aggregate of one treatment over its strata with percentile limits.

    Args:
        scores: (strata, seeds); a seed with a missing score is left out in every stratum. One arm
            alone is one stratum.
        rng: Draws the seeds.
        aggregate: From (..., strata, seeds) to (...,).
        draws: Bootstrap samples.
        confidence: Of the interval.

    Returns:
        Aggregate and limits, each of shape (); limits are NaN below `FEWEST_SEEDS` seeds, the
        aggregate below one.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    strata, seeds = scores.shape
    nothing = np.array(np.nan)
    if seeds < FEWEST_SEEDS:
        return Intervals(aggregate(scores) if seeds else nothing, nothing, nothing)
    at_once = max(_AT_ONCE // (strata * seeds), 1)
    samples = np.concatenate(
        [
            aggregate(
                scores[
                    np.arange(strata)[:, None],
                    rng.integers(seeds, size=(min(at_once, draws - start), strata, seeds)),
                ]
            )
            for start in range(0, draws, at_once)
        ]
    )
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Intervals(aggregate(scores), low, high)
