"""Differences as fractions of what an arm is compared with: "5 % less time".

    theta = (mean(A) - mean(B)) / |mean(B)|

Tested without an estimated denominator: "theta is above d" is the contrast
mean(A) - (1 + d) mean(B) above 0 (of times, which are scores with a minus: A - (1 - d) B), by the
same t test as any other.
Limits are the d at which that test is just significant (Fieller 1954); they are infinite where the
mean that is compared with is not shown to differ from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from normlab.stats.contrasts import TEstimates
from normlab.stats.intervals import Values, moments

_MOST = 1e6  # a limit beyond that is none
_HALVINGS = 60


@dataclass(frozen=True)
class RelativeEstimates:
    """Relative contrasts (..., contrasts); see `normlab.stats.contrasts.Estimates`."""

    scores: Values
    weights: Values
    measure: Callable[[Values, Values], TEstimates]

    @property
    def estimate(self) -> Values:
        """The differences of means over the size of the mean compared with."""
        base = np.abs(self._base())
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Values = self._found(0.0).estimate / base
        return found

    def limits(self, alpha: float) -> tuple[Values, Values]:
        """Where the test at `alpha` ends to be significant, by bisection."""
        low = self._crossing(lambda d: self._found(d).limits(alpha)[0])
        high = self._crossing(lambda d: self._found(d).limits(alpha)[1])
        return low, high

    def above(self, null: float) -> Values:
        """The contrast at `null` against 0."""
        return self._found(null).above(0.0)

    def below(self, null: float) -> Values:
        """See `above`."""
        return self._found(null).below(0.0)

    def _base(self) -> Values:
        """Means (..., contrasts) of what each contrast compares with."""
        means = moments(self.scores).mean[..., None, :]
        compared = np.maximum(-self.weights, 0.0)
        base: Values = np.where(compared > 0, compared * means, 0.0).sum(axis=-1)
        return base

    def _found(self, null: Values | float) -> TEstimates:
        """Estimates of the contrasts minus the fraction `null` (..., contrasts) of the base."""
        nulls = np.broadcast_to(null, self._base().shape)
        # (1 + d) B of scores above 0; (1 - d) B of those with a minus.
        factors = 1.0 + nulls * np.sign(self._base())
        parts = []
        for row, weights in enumerate(self.weights):
            factor = np.where(weights < 0, factors[..., row, None], 1.0)
            parts.append(self.measure(self.scores * factor[..., None], weights[None]))
        columns = ([getattr(part, name) for part in parts] for name in ("estimate", "se", "df"))
        return TEstimates(*(np.concatenate(column, axis=-1) for column in columns))

    def _crossing(self, limit: Callable[[Values], Values]) -> Values:
        """The fraction at which a limit is 0: limits fall as it rises."""
        shape = self._found(0.0).estimate.shape
        low, high = np.full(shape, -_MOST), np.full(shape, _MOST)
        never_above, never_below = limit(low) <= 0, limit(high) >= 0
        unknown = np.isnan(limit(low))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            up = limit(middle) > 0
            low, high = np.where(up, middle, low), np.where(up, high, middle)
        found = np.where(never_above, -np.inf, np.where(never_below, np.inf, low))
        return np.where(unknown, np.nan, found)


def relative(
    scores: Values, weights: Values, measure: Callable[[Values, Values], TEstimates]
) -> RelativeEstimates:
    """Relative contrasts of scores.

    Args:
        scores: (..., arms, seeds), NaN for missing.
        weights: (contrasts, arms): the arms with a minus are what is compared with.
        measure: The t estimates of contrasts of scores.
    """
    return RelativeEstimates(scores, np.atleast_2d(weights), measure)
