"""Intervals for a mean over seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]


class Intervals(NamedTuple):
    """Means with the limits of their intervals, each an array; NaN limits below two values."""

    mean: Values
    low: Values
    high: Values


def t_intervals(
    mean: npt.ArrayLike,
    variance: npt.ArrayLike,
    count: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    variance_floor: npt.ArrayLike = 0.0,
) -> Intervals:
    """Student's t-intervals from means, sample variances and counts (arrays that broadcast).

    Args:
        mean: Sample means.
        variance: Sample variances with n - 1 below; ignored where a count is below 2.
        count: Numbers of values.
        confidence: Coverage for normal values.
        variance_floor: Least variance to believe: equal accuracies on a finite test set do not
            mean that there is no spread.
    """
    mean = np.asarray(mean, dtype=float)
    count = np.asarray(count, dtype=float)
    enough = count >= 2
    spread = np.maximum(np.where(enough, variance, np.nan), variance_floor)
    freedom = np.where(enough, count - 1, np.nan)
    quantile = stats.t.ppf(0.5 + confidence / 2, freedom)
    half = quantile * np.sqrt(spread / np.where(enough, count, np.nan))
    return Intervals(mean, mean - half, mean + half)


def one_image_variance(images: npt.ArrayLike) -> Values:
    """Variance of the rounding of an accuracy to whole test images: (1 / n)^2 / 12."""
    return np.square(1.0 / np.asarray(images, dtype=float)) / 12
