"""Contrasts of arms: weighted sums of means, tested by Welch's t or, where declared, a paired t.

    psi = sum_i w_i mean_i,   se^2 = sum_i p_i  with  p_i = w_i^2 max(v_i, floor) / n_i,
    df  = se^4 / sum_i p_i^2 / (n_i - 1)                  (Welch 1947, Satterthwaite 1946)

Paired: the n complete seeds give n values sum_i w_i y_is, and df = n - 1.

No contrast is judged where an arm has fewer than three values. Two that happen to be alike, as two
collapsed trainings are, have no spread but the floor, and a difference from anything is then
"shown": with 10 % of the trainings collapsing some claim of a family of 20 is wrong in 27 % of
studies. And two left of a noisy arm err in 7 to 14 % against more of a quiet one.

Every array may have leading axes (one entry per simulated study): the planner and the tests run
the very functions that judge a study. Bonferroni is the caller's: pass alpha / claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from normlab.lazy import special
from normlab.stats.intervals import Moments, Values, moments

FEWEST = 3
"""Values of an arm from which on a contrast has limits."""


class Estimates(Protocol):
    """Estimated contrasts (..., contrasts) with a test of any value and the interval it gives.

    Limits and p-values agree: the lower limit at `alpha` is above `null` exactly where
    `above(null) <= alpha / 2`, apart from rounding in the last digits.
    """

    @property
    def estimate(self) -> Values:
        """The contrasts' values."""

    def limits(self, alpha: float) -> tuple[Values, Values]:
        """Lower and upper limits of the two-sided (1 - alpha) intervals."""

    def above(self, null: float) -> Values:
        """One-sided p-values against "the contrast is at most `null`"."""

    def below(self, null: float) -> Values:
        """One-sided p-values against "the contrast is at least `null`"."""


@dataclass(frozen=True)
class TEstimates:
    """Contrasts with a standard error and degrees of freedom, each (..., contrasts)."""

    estimate: Values
    se: Values
    df: Values

    def limits(self, alpha: float) -> tuple[Values, Values]:
        """Estimate -+ t(1 - alpha / 2, df) * se."""
        half = special.stdtrit(self.df, 1 - alpha / 2) * self.se
        return self.estimate - half, self.estimate + half

    def above(self, null: float) -> Values:
        """P(T >= t) under the null."""
        return self._upper_tail(self.estimate - null)

    def below(self, null: float) -> Values:
        """P(T <= t) under the null."""
        return self._upper_tail(null - self.estimate)

    def _upper_tail(self, distance: Values) -> Values:
        # Without spread and without a floor any distance is infinitely many standard errors.
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.se == 0, np.sign(distance) * np.inf, distance / self.se)
        tail: Values = special.stdtr(self.df, -np.where((self.se == 0) & (distance == 0), 0, t))
        return tail


def welch(
    arms: Moments, weights: npt.ArrayLike, *, variance_floor: npt.ArrayLike = 0.0
) -> TEstimates:
    """Welch's estimates of contrasts over independent arms.

    Args:
        arms: Moments (..., arms).
        weights: (contrasts, arms); arms of weight 0 play no part, missing or not.
        variance_floor: Least variance of an arm to believe; see `one_image_variance`.

    Returns:
        Estimates (..., contrasts); without limits (NaN) where an arm with a weight has fewer than
        three values.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    used = weights != 0
    mean, count = arms.mean[..., None, :], arms.seeds[..., None, :]
    estimate = np.where(used, weights * mean, 0.0).sum(axis=-1)
    variance = np.maximum(arms.variance[..., None, :], variance_floor)
    enough = np.where(count >= FEWEST, count, np.nan)
    parts = np.where(used, np.square(weights) * variance / enough, 0.0)
    squared = parts.sum(axis=-1)
    below = np.where(used, np.square(parts) / (enough - 1), 0.0).sum(axis=-1)
    fewest = np.where(used, enough - 1, np.inf).min(axis=-1)  # where there is no spread at all
    df = np.where(squared == 0, fewest, np.square(squared) / np.where(below == 0, np.nan, below))
    return TEstimates(estimate, np.sqrt(squared), df)


def paired_values(scores: npt.ArrayLike, weights: npt.ArrayLike) -> Values:
    """Per-seed contrasts (..., contrasts, seeds), NaN where an arm with a weight has no score."""
    scores = np.asarray(scores, dtype=float)
    rows = np.atleast_2d(np.asarray(weights, dtype=float))
    values = [
        np.tensordot(row[row != 0], scores[..., row != 0, :], axes=(0, scores.ndim - 2))
        for row in rows
    ]
    return np.stack(values, axis=-2)


def paired(
    scores: npt.ArrayLike, weights: npt.ArrayLike, *, variance_floor: float = 0.0
) -> TEstimates:
    """Student's t on per-seed contrasts: arms of one seed share data order and initialization.

    Args:
        scores: (..., arms, seeds), NaN for missing.
        weights: (contrasts, arms).
        variance_floor: Of one arm; a contrast of rounded scores rounds by sum_i w_i^2 of it.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    found = moments(paired_values(scores, weights))
    floor = variance_floor * np.square(weights).sum(axis=-1)
    count = np.where(found.seeds >= FEWEST, found.seeds, np.nan)
    return TEstimates(found.mean, np.sqrt(np.maximum(found.variance, floor) / count), count - 1)


def two_sided(estimates: Estimates, null: float = 0.0) -> Values:
    """Two-sided p-values: twice the smaller one-sided one."""
    smaller = np.minimum(estimates.above(null), estimates.below(null))
    p: Values = np.minimum(1.0, 2 * smaller)
    return p


def tost(estimates: Estimates, margin: float) -> Values:
    """Two one-sided tests of "the contrast lies within +- margin" (Schuirmann 1987): p-values."""
    larger: Values = np.maximum(estimates.above(-margin), estimates.below(margin))
    return larger


def pair_weights(arms: int) -> Values:
    """Weights of all pairwise differences i - j, i < j, in the order (0, 1), (0, 2), ..."""
    first, second = np.triu_indices(arms, k=1)
    weights: Values = np.eye(arms)[first] - np.eye(arms)[second]
    return weights
