"""Trials that diverged or never learned: kept with the score they earned, and counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.lazy import special
from normlab.stats.intervals import Intervals, Values

Flags = npt.NDArray[np.bool_]


class CollapseRates(NamedTuple):
    """Per arm: trials with a score, collapsed ones, and the p-value against all other arms."""

    trials: npt.NDArray[np.int_]
    collapsed: npt.NDArray[np.int_]
    p: Values


def earned_scores(scores: npt.ArrayLike, diverged: npt.ArrayLike, chance: float) -> Values:
    """Scores of the primary analysis: a diverged trial without a score gets chance.

    Args:
        scores: (arms, seeds), NaN for missing.
        diverged: (arms, seeds): trials that ended as diverged.
        chance: Score of guessing, 1 / classes for accuracy.
    """
    scores = np.asarray(scores, dtype=float)
    return np.where(np.isnan(scores) & np.asarray(diverged, dtype=bool), chance, scores)


def collapse_bar(chance: float) -> float:
    """The score below which a trial never learned: twice chance.

    With fewer than 5 classes twice chance asks for much, with 2 for everything: there the bar is
    a quarter of the way from chance to 1.
    """
    return chance + min(chance, (1 - chance) / 4)


def collapsed(scores: npt.ArrayLike, chance: float) -> Flags:
    """Scores below the bar; a missing trial did not collapse."""
    return np.asarray(scores, dtype=float) < collapse_bar(chance)


def without_collapsed(scores: npt.ArrayLike, chance: float) -> Values:
    """Scores of the secondary table: those of collapsed trials are NaN."""
    return np.where(collapsed(scores, chance), np.nan, np.asarray(scores, dtype=float))


def rate_test(first: int, of_first: int, second: int, of_second: int) -> float:
    """Fisher's exact test, two-sided, of `first` of `of_first` against `second` of `of_second`."""
    from scipy import stats  # takes half a second to import

    table = [[first, of_first - first], [second, of_second - second]]
    return float(stats.fisher_exact(table).pvalue)


def collapse_rates(scores: npt.ArrayLike, chance: float) -> CollapseRates:
    """Each arm's collapses, tested by Fisher's exact test against those of all other arms.

    The p-values are Bonferroni-adjusted over the arms.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    trials = (~np.isnan(scores)).sum(axis=1)
    hit = collapsed(scores, chance).sum(axis=1)
    others, of_others = hit.sum() - hit, trials.sum() - trials
    p = [rate_test(*row) for row in zip(hit, trials, others, of_others, strict=True)]
    return CollapseRates(trials, hit, np.minimum(1.0, len(scores) * np.array(p)))


def fractions(hits: npt.ArrayLike, trials: npt.ArrayLike, *, confidence: float = 0.95) -> Intervals:
    """Success fractions with exact limits (Clopper & Pearson 1934); NaN without trials."""
    hits, trials = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    some = np.where(trials > 0, trials, np.nan)
    tail = (1 - confidence) / 2
    low = special.betaincinv(np.maximum(hits, 1), some - hits + 1, tail)
    high = special.betaincinv(hits + 1, np.maximum(some - hits, 1), 1 - tail)
    share = hits / some
    return Intervals(share, np.where(hits == 0, 0 * some, low), np.where(hits == some, 1.0, high))
