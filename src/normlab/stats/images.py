"""Uncertainty of the test set: a two-way bootstrap over seeds and test images.

    accuracy* = sum_s sum_i u_s w_i correct[s, i] / (sum u * sum w),   u, w multinomial counts

Owen 2007 ("pigeonhole bootstrap"). Percentiles of such draws would be too narrow at few seeds, as
any bootstrap over 3 values is, so the draws only give a variance: the part between seeds, known
without drawing, is corrected by n / (n - 1) and keeps its n - 1 degrees of freedom, the rest has as
many as there are images (Satterthwaite). With a very large test set it is the t-interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from normlab.lazy import special
from normlab.stats.intervals import Intervals


def two_way_bootstrap(
    correct: Sequence[npt.ArrayLike],
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
) -> Intervals:
    """Mean accuracies as if seeds and test images had both been drawn anew.

    Args:
        correct: Per arm (seeds, images): 1 or True where the image was classified correctly. All
            arms share the images, and the draws of them.
        rng: Draws images and seeds.
        draws: Bootstrap samples.
        confidence: Of the intervals.

    Returns:
        Means and limits (arms,); limits are NaN below two seeds.
    """
    arms = [np.asarray(arm, dtype=np.float32) for arm in correct]
    images = arms[0].shape[1]
    by_image = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float32)
    found = [_interval(arm, by_image, rng, confidence) for arm in arms]
    return Intervals(*(np.array(column) for column in zip(*found, strict=True)))


def _interval(
    correct: npt.NDArray[np.float32],
    by_image: npt.NDArray[np.float32],
    rng: np.random.Generator,
    confidence: float,
) -> tuple[float, float, float]:
    seeds, images = correct.shape
    accuracy = correct.mean(axis=1, dtype=float)
    mean = float(accuracy.mean())
    if seeds < 2:
        return mean, np.nan, np.nan
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(by_image))
    # (draws, seeds): accuracy of every seed on every drawn test set.
    drawn = (by_image @ correct.T).astype(float) / images
    samples = (by_seed * drawn).sum(axis=1) / seeds
    between = accuracy.var(ddof=1) / seeds
    total = samples.var(ddof=1) + between / seeds
    if total == 0:
        return mean, mean, mean
    rest = max(total - between, 0.0)
    df = total**2 / (between**2 / (seeds - 1) + rest**2 / (images - 1))
    half = special.stdtrit(df, 0.5 + confidence / 2) * np.sqrt(total)
    return mean, mean - half, mean + half
