"""Multiple comparison with the best: which arms could still be the best one.

    D_i = mean_i - max of the other means;  arm i is excluded where D_i's upper limit is 0

Hsu 1984's constrained intervals. They need one event only: that for the arm b which truly is best
the upper limits of all k - 1 differences b - j hold. Hsu's own limits pool the variance; here they
are those of any pairwise test, each at (1 - confidence) / (k - 1), so by Bonferroni's inequality
the event has at least that confidence whatever the variances and correlations (Edwards & Hsu 1983
argue likewise for unequal ones). Differs from Hsu in that alone: a little wider, no pooling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.stats.contrasts import Estimates
from normlab.stats.intervals import Values


class WithBest(NamedTuple):
    """Per arm (..., arms): limits of its distance to the best other arm, and if it is excluded."""

    low: Values
    high: Values
    excluded: npt.NDArray[np.bool_]


def compare_with_best(pairs: Estimates, arms: int, *, alpha: float = 0.05) -> WithBest:
    """Simultaneous (1 - alpha) limits of every arm's distance to the best of the others.

    Args:
        pairs: Estimates of `pair_weights(arms)`, by whatever test.
        arms: Number of arms.
        alpha: Chance that the truly best arm is excluded, or any limit wrong.

    Returns:
        An arm with missing trials is never excluded.
    """
    low, high = pairs.limits(2 * alpha / (arms - 1))
    first, second = np.triu_indices(arms, k=1)
    upper = np.full((*np.shape(low)[:-1], arms, arms), np.nan)
    upper[..., first, second], upper[..., second, first] = high, -low
    diagonal = np.arange(arms)
    upper[..., diagonal, diagonal] = np.inf
    # A limit that is not known excludes nobody.
    top = np.where(np.isnan(upper), np.inf, upper).min(axis=-1)
    excluded = top <= 0
    # The lower limit of i - j is minus the upper one of j - i; only arms still in matter.
    lower = np.where(excluded[..., None, :], np.inf, -np.swapaxes(upper, -1, -2))
    lower[..., diagonal, diagonal] = np.inf
    bottom = np.minimum(0.0, np.where(np.isnan(lower), -np.inf, lower).min(axis=-1))
    return WithBest(bottom, np.maximum(0.0, top), excluded)
