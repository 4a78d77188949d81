"""Power of a contrast, and the seeds or the effect that a power needs: before any run.

    supported where D > t(1 - alpha / 2, df) * se,   D ~ N(effect, sigma^2) independent of se, df

Given the sample variances, D's chance is a normal tail, so power is its mean over the variances'
chi-squares, taken on 512 Sobol points (within 0.4 points): what Welch's test does at few seeds.
The textbook's noncentral t with 2n - 2 degrees of freedom promises 89 % for a true 80 % at 3 seeds,
and 99 % at an alpha of 0.05 / 21. No draws, so the same answer every time.

Spreads are standard deviations over seeds, of a pilot or stated; seeds are per arm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from normlab.lazy import special
from normlab.stats.contrasts import FEWEST, welch
from normlab.stats.intervals import Moments, Values

MOST_SEEDS = 10_000
"""More seeds than this are answered by None."""

POINTS = 512


@dataclass(frozen=True)
class Design:
    """One contrast, to be planned.

    Attributes:
        weights: Of the arms in it; two arms against each other by default. Paired: (1,), with the
            spread of the per-seed differences.
        spreads: Standard deviation over seeds of each.
        variance_floor: See `one_image_variance`.
    """

    spreads: tuple[float, ...]
    weights: tuple[float, ...] = (1.0, -1.0)
    variance_floor: float = 0.0


def better_power(design: Design, effect: float, seeds: int, *, alpha: float = 0.05) -> float:
    """Chance that the lower (1 - alpha) limit is above 0 if the contrast is `effect`."""
    half, sigma = _half_widths(design, seeds, alpha)
    return _above(half, sigma, effect)


def equal_power(
    design: Design, margin: float, seeds: int, *, effect: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that the (1 - 2 alpha) interval lies inside +- margin if the contrast is `effect`."""
    half, sigma = _half_widths(design, seeds, 2 * alpha)
    return _within(half, sigma, margin, effect)


def below_power(design: Design, margin: float, seeds: int, *, alpha: float = 0.05) -> float:
    """Chance that equal arms are shown below the margin, and not by error above 0."""
    half, sigma = _half_widths(design, seeds, alpha)
    return _below(half, sigma, margin)


@lru_cache(maxsize=1024)
def smallest_margin_above(
    design: Design, seeds: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest margin below which equal arms are shown with this power."""
    return _smallest(_below, design, seeds, alpha, power)


@lru_cache(maxsize=1024)
def seeds_for_below(
    design: Design, margin: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Seeds an arm with which equal arms are shown below the margin with this power."""
    return _fewest(
        lambda seeds: below_power(design, margin, seeds, alpha=alpha) >= power,
        guess=_by_t(design, margin, alpha / 2, 1 - power),
    )


@lru_cache(maxsize=1024)
def smallest_effect(
    design: Design, seeds: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest contrast that is found above 0 with this power; NaN below three seeds."""
    return _smallest(_above, design, seeds, alpha, power)


@lru_cache(maxsize=1024)
def smallest_margin(
    design: Design, seeds: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Smallest margin within which equal arms are found equal with this power."""
    return _smallest(_within, design, seeds, 2 * alpha, power)


@lru_cache(maxsize=1024)
def seeds_for_better(
    design: Design, effect: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Seeds an arm with which a contrast of `effect` is found above 0 with this power.

    As many find a contrast of 0 below the margin `effect`: they settle the claim either way.
    """
    return _fewest(
        lambda seeds: better_power(design, effect, seeds, alpha=alpha) >= power,
        guess=_by_t(design, effect, alpha / 2, 1 - power),
    )


@lru_cache(maxsize=1024)
def seeds_for_equal(
    design: Design,
    margin: float,
    *,
    effect: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Seeds an arm with which arms that differ by `effect` are found within the margin."""
    missed = (1 - power) / (1 if effect else 2)  # without an effect on either side alike
    return _fewest(
        lambda seeds: equal_power(design, margin, seeds, effect=effect, alpha=alpha) >= power,
        guess=_by_t(design, margin - abs(effect), alpha, missed),
    )


def _above(half: Values, sigma: float, effect: float) -> float:
    return float(special.ndtr((effect - half) / sigma).mean())


def _below(half: Values, sigma: float, margin: float) -> float:
    return float(special.ndtr(np.minimum(margin - half, half) / sigma).mean())


def _within(half: Values, sigma: float, margin: float, effect: float = 0.0) -> float:
    room = margin - half
    inside = special.ndtr((room - effect) / sigma) - special.ndtr((-room - effect) / sigma)
    return float(np.maximum(inside, 0.0).mean())


def _smallest(
    chance: Callable[[Values, float, float], float],
    design: Design,
    seeds: int,
    alpha: float,
    power: float,
) -> float:
    """The smallest value with that chance at the limits of level `alpha`; NaN below three seeds."""
    if seeds < FEWEST:
        return float("nan")
    half, sigma = _half_widths(design, seeds, alpha)
    return _bisect(lambda value: chance(half, sigma, value) >= power)


def _half_widths(design: Design, seeds: int, alpha: float) -> tuple[Values, float]:
    """Half widths of the interval over the points, and the contrast's true standard error."""
    spreads = np.array(design.spreads, dtype=float)
    ratios = _variance_ratios(len(spreads), seeds)
    arms = Moments(np.zeros_like(ratios), ratios * np.square(spreads), np.full_like(ratios, seeds))
    found = welch(arms, design.weights, variance_floor=design.variance_floor)
    half = special.stdtrit(found.df, 1 - alpha / 2) * found.se
    # Without any spread the estimate is the effect: a step, which a tiny sigma is.
    return half[:, 0], max(_sigma(design) / np.sqrt(seeds), 1e-300)


def _sigma(design: Design) -> float:
    return float(np.sqrt(np.square(np.multiply(design.weights, design.spreads)).sum()))


@lru_cache(maxsize=256)
def _variance_ratios(arms: int, seeds: int) -> Values:
    """Sample variance over variance, chi-square(n - 1) / (n - 1): (points, arms)."""
    from scipy.stats import qmc  # scipy.stats takes half a second to import

    points = qmc.Sobol(arms, scramble=False).random(POINTS) + 0.5 / POINTS
    freedom = seeds - 1
    ratios: Values = special.chdtri(freedom, 1 - points) / freedom
    return ratios


def _by_t(design: Design, distance: float, *tails: float) -> int:
    """About the seeds at which the t quantiles of the tails, in standard errors, fit a distance."""
    sigma = _sigma(design)
    if not distance > 0:
        return MOST_SEEDS
    parts = np.square(np.multiply(design.weights, design.spreads))
    balance = np.square(parts.sum()) / np.square(parts).sum() if sigma else 1.0
    needed = 2.0
    for _ in range(4):  # from below and from above in turn
        quantiles = special.stdtrit(balance * max(needed - 1, 1.0), tails)
        needed = min(MOST_SEEDS, np.square(quantiles.sum() * sigma / distance))
    return math.ceil(needed)


def _bisect(enough: Callable[[float], bool]) -> float:
    low, high = 0.0, 1e-6
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _fewest(enough: Callable[[int], bool], *, guess: int) -> int | None:
    low, high = FEWEST - 1, MOST_SEEDS + 1  # fewer have no limits
    tried, step = min(max(guess, FEWEST), MOST_SEEDS), 1
    while high - low > 1:
        low, high = (low, tried) if enough(tried) else (tried, high)
        if low < FEWEST:
            tried = max(high - step, FEWEST)
        elif high > MOST_SEEDS:
            tried = min(low + step, MOST_SEEDS)
        else:
            tried = (low + high) // 2
        step *= 2
    return high if high <= MOST_SEEDS else None
