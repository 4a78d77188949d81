"""Permutation tests of a difference of means, and the intervals they give by inversion.

Two arms: every way to hand the pooled seeds to the two arms. Pairs: every way to flip the signs of
the per-seed differences. If the arms differ by a shift theta, arrangement g is at least as extreme
as the one observed exactly where theta >= theta_g, with

    theta_g = (D - D_g) / c_g     (the difference of means of what g exchanges; Tritchler 1984)

so p(theta) is a count of theta_g, and the limits are two of them: no search. All arrangements up to
`MOST_ARRANGEMENTS`, above that `DRAWS` random ones, counted with the observed one (Phipson & Smyth
2010), so that no p is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from normlab.stats.intervals import Values

MOST_ARRANGEMENTS = 100_000
"""Above this many (9 against 9 seeds have 48,620, 16 pairs 65,536) they are drawn at random."""

DRAWS = MOST_ARRANGEMENTS - 1
"""Random arrangements, beside the observed one: never fewer than fewer seeds are counted with."""

Membership = npt.NDArray[np.bool_]


def arrangements(first: int, second: int | None = None) -> int:
    """How many arrangements a test counts: of two arms, or (`second` None) of that many pairs."""
    every = 2**first if second is None else math.comb(first + second, first)
    return every if every <= MOST_ARRANGEMENTS else DRAWS + 1


def smallest_p(first: int, second: int | None = None) -> float:
    """Smallest two-sided p that any outcome can give: 3 against 3 seeds 0.1, 3 pairs 0.25."""
    return min(1.0, 2 / arrangements(first, second))


@dataclass(frozen=True)
class PermutationEstimates:
    """One contrast whose test counts arrangements; shapes (1,), as of `TEstimates`.

    Attributes:
        estimate: The difference.
        critical: Sorted shifts theta_g of the arrangements that differ from the observed one.
        same: The arrangements equal to it, itself included: extreme under every shift.
    """

    estimate: Values
    critical: Values
    same: int = 1

    def limits(self, alpha: float) -> tuple[Values, Values]:
        """The shifts that the test does not reject at alpha / 2 a side; infinite if it cannot."""
        place = math.floor(alpha / 2 * self._all + 1e-9) - self.same
        if place < 0:
            return np.array([-np.inf]), np.array([np.inf])
        return self.critical[[place]], self.critical[[-1 - place]]

    def above(self, null: float) -> Values:
        """Share of arrangements at least as extreme, upwards, were the shift `null`."""
        count = np.searchsorted(self.critical, null, side="right")
        return np.atleast_1d((self.same + count) / self._all)

    def below(self, null: float) -> Values:
        """Share of arrangements at least as extreme, downwards, were the shift `null`."""
        count = len(self.critical) - np.searchsorted(self.critical, null, side="left")
        return np.atleast_1d((self.same + count) / self._all)

    @property
    def _all(self) -> int:
        return len(self.critical) + self.same


def two_sample(
    first: npt.ArrayLike, second: npt.ArrayLike, rng: np.random.Generator
) -> PermutationEstimates:
    """Permutation test of mean(first) - mean(second).

    Exact where the seeds of both arms could be exchanged; with unequal spreads and unequal numbers
    of seeds it can err more often than it says.

    Args:
        first: Scores of one arm (seeds,), without missing ones.
        second: Of the other.
        rng: Draws arrangements where there are too many to count.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    pooled = np.concatenate([first, second])
    members = memberships(len(first), len(second), rng)
    share = 1 / len(first) + 1 / len(second)
    difference = first.mean() - second.mean()
    # With s the sum of those in the first arm, D_g = s / n1 - (total - s) / n2.
    shuffled = members @ pooled * share - pooled.sum() / len(second)
    exchanged = len(first) - members[:, : len(first)].sum(axis=1)
    return _estimates(difference, shuffled, exchanged * share, pooled)


def sign_flip(differences: npt.ArrayLike, rng: np.random.Generator) -> PermutationEstimates:
    """Sign-flip test of the mean of per-seed differences (pairs,), exact if each is symmetric."""
    differences = np.asarray(differences, dtype=float)
    flips = _flips(len(differences), rng)
    mean = differences.mean()
    flipped = mean - 2 * (flips @ differences) / len(differences)
    return _estimates(mean, flipped, 2 * flips.sum(axis=1) / len(differences), differences)


def memberships(first: int, second: int, rng: np.random.Generator) -> Membership:
    """Who is in the first arm, a row per arrangement that differs from the observed one."""
    if arrangements(first, second) == math.comb(first + second, first):
        return _every_membership(first, second)
    row = np.arange(first + second) < first
    drawn: Membership = rng.permuted(np.tile(row, (DRAWS, 1)), axis=1)
    return drawn


@lru_cache(maxsize=16)
def _every_membership(first: int, second: int) -> Membership:
    chosen = np.array(list(combinations(range(first + second), first)))
    members = np.zeros((len(chosen), first + second), dtype=bool)
    np.put_along_axis(members, chosen, values=True, axis=1)
    return members[1:]  # the first combination is the observed one


def _flips(pairs: int, rng: np.random.Generator) -> Membership:
    if arrangements(pairs) == 2**pairs:
        every: Membership = (np.arange(1, 2**pairs)[:, None] >> np.arange(pairs)) % 2 == 1
        return every
    return rng.random((DRAWS, pairs)) < 0.5


def _estimates(
    observed: float, arranged: Values, change: Values, data: Values
) -> PermutationEstimates:
    moved = change > 0
    critical = (observed - arranged[moved]) / change[moved]
    # Ties must be ties whatever the order of summation: twelve digits of the largest value.
    largest = float(np.abs(data).max()) or 1.0
    decimals = 12 - math.ceil(math.log10(largest))
    same = 1 + int((~moved).sum())
    return PermutationEstimates(np.array([observed]), np.sort(np.round(critical, decimals)), same)
