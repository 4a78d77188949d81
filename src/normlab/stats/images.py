"""Uncertainty of the test set: a two-way bootstrap over seeds and test images.

    accuracy* = sum_s sum_i u_s w_i correct[s, i] / (sum u * sum w),   u, w multinomial counts

Owen 2007 ("pigeonhole bootstrap"). Percentiles of such draws would be too narrow at few seeds, as
any bootstrap over 3 values is, so the draws only give a variance: the part between seeds, known
without drawing, is corrected by n / (n - 1) and keeps its n - 1 degrees of freedom, the rest has as
many as there are images (Satterthwaite). With a very large test set it is the t-interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt

from normlab.lazy import special
from normlab.stats.intervals import Intervals

_DRAWS = 1000
_CONFIDENCE = 0.95


class TwoWayDraws:
    """The draws of two-way bootstraps that begin alike, each drawn once for them all.

    `interval` of one arm gives what `two_way_bootstrap` gives of it with a generator of that seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._images: dict[int, tuple[npt.NDArray[np.float32], np.random.Generator]] = {}
        self._seeds: dict[tuple[int, int], npt.NDArray[np.int64]] = {}

    def interval(self, correct: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
        """Mean accuracy of an arm (seeds, images) and 95 % limits; NaN below two seeds."""
        seeds, images = correct.shape
        if images not in self._images:
            rng = np.random.default_rng(self._seed)
            self._images[images] = _by_image(images, rng, _DRAWS), rng
        by_image, after = self._images[images]
        if (images, seeds) not in self._seeds:
            self._seeds[images, seeds] = _by_seed(seeds, deepcopy(after), _DRAWS)
        by_seed = self._seeds[images, seeds]
        return _interval(np.asarray(correct, dtype=np.float32), by_image, by_seed, _CONFIDENCE)


def two_way_bootstrap(
    correct: Sequence[npt.ArrayLike],
    rng: np.random.Generator,
    *,
    draws: int = _DRAWS,
    confidence: float = _CONFIDENCE,
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
    by_image = _by_image(arms[0].shape[1], rng, draws)
    found = [_interval(arm, by_image, _by_seed(len(arm), rng, draws), confidence) for arm in arms]
    return Intervals(*(np.array(column) for column in zip(*found, strict=True)))


def _by_image(images: int, rng: np.random.Generator, draws: int) -> npt.NDArray[np.float32]:
    """(draws, images): how often each image is in a drawn test set."""
    return rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float32)


def _by_seed(seeds: int, rng: np.random.Generator, draws: int) -> npt.NDArray[np.int64]:
    """(draws, seeds): how often each seed is drawn."""
    if seeds < 2:  # one seed draws nothing: there is no interval
        return np.empty((draws, 0), dtype=np.int64)
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)


def _interval(
    correct: npt.NDArray[np.float32],
    by_image: npt.NDArray[np.float32],
    by_seed: npt.NDArray[np.int64],
    confidence: float,
) -> tuple[float, float, float]:
    seeds, images = correct.shape
    accuracy = correct.mean(axis=1, dtype=float)
    mean = float(accuracy.mean())
    if seeds < 2:
        return mean, np.nan, np.nan
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
