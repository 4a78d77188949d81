"""Means over seeds, and Student's t-intervals for them: mean +- t(n - 1) * sqrt(variance / n)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.lazy import special

Values = npt.NDArray[np.float64]


class Intervals(NamedTuple):
    """Means with the limits of their intervals, each an array; NaN limits below two values."""

    mean: Values
    low: Values
    high: Values


class Moments(NamedTuple):
    """Means, sample variances and numbers of seeds, each (..., arms); NaN where there is none."""

    mean: Values
    variance: Values
    seeds: Values


def moments(scores: npt.ArrayLike) -> Moments:
    """Means, variances (n - 1 below) and counts over the last axis; NaN is a missing trial."""
    scores = np.asarray(scores, dtype=float)
    present = ~np.isnan(scores)
    count = present.sum(axis=-1).astype(float)
    divisor = np.where(count >= 1, count, np.nan)
    mean = np.where(present, scores, 0.0).sum(axis=-1) / divisor
    off = np.where(present, scores - mean[..., None], 0.0)
    freedom = np.where(count >= 2, count - 1, np.nan)
    return Moments(mean, np.square(off).sum(axis=-1) / freedom, count)


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
    quantile = special.stdtrit(freedom, 0.5 + confidence / 2)
    half = quantile * np.sqrt(spread / np.where(enough, count, np.nan))
    return Intervals(mean, mean - half, mean + half)


def pooled_t_intervals(
    arms: Moments, *, confidence: float = 0.95, variance_floor: float = 0.0
) -> Intervals:
    """Student's t-intervals on the variance common to all arms (last axis).

    Narrower than `t_intervals` at few seeds, and wrong where one arm is noisier than the others:
    for analyses of one's own, no report uses it.
    """
    enough = arms.seeds >= 2
    freedom = np.where(enough, arms.seeds - 1, 0.0)
    total = freedom.sum(axis=-1, keepdims=True)
    squares = np.where(enough, arms.variance * freedom, 0.0).sum(axis=-1, keepdims=True)
    spread = np.maximum(squares / np.where(total > 0, total, np.nan), variance_floor)
    quantile = special.stdtrit(total, 0.5 + confidence / 2)
    half = quantile * np.sqrt(spread / np.where(enough, arms.seeds, np.nan))
    return Intervals(arms.mean, arms.mean - half, arms.mean + half)


def one_image_variance(images: npt.ArrayLike) -> Values:
    """Variance of the rounding of an accuracy to whole test images: (1 / n)^2 / 12."""
    return np.square(1.0 / np.asarray(images, dtype=float)) / 12
