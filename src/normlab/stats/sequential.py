"""Adding seeds until claims are settled: alpha spent over declared looks.

    spent(t) = 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t)),   t = seeds so far / most seeds
    alpha of look k = spent(t_k) - spent(t_(k-1))

The O'Brien-Fleming-like spending function of Lan & DeMets 1983. Differs from their boundaries in
one way, on purpose: they give later looks a little more by integrating over a multivariate normal
path of the statistic; here each look is tested at its share alone, so that the chance of any error
at any look is at most the sum of shares, alpha, by Bonferroni's inequality. That needs nothing but
valid p-values at each look, and so holds for Welch's t, paired t, equivalence, intersections and
permutation tests alike. It costs power: the last of 5, 10, 20, 30 seeds is tested at 0.034 of 0.05.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from normlab.errors import UserError
from normlab.lazy import special
from normlab.stats.contrasts import FEWEST

LOOKS = (5, 10, 20, 30)
"""Seeds an arm at which the results are looked at."""


def look_alphas(alpha: float = 0.05, looks: Sequence[int] = LOOKS) -> tuple[float, ...]:
    """What each look may use of the family's alpha, summing to it.

    Args:
        alpha: The family's; divide each share by the number of claims afterwards.
        looks: Seeds an arm, rising; the last is the most there will be.

    Raises:
        UserError: The looks do not rise, or the first has fewer than three seeds.
    """
    if not looks or looks[0] < FEWEST or any(a >= b for a, b in pairwise(looks)):
        raise UserError(f"looks: {list(looks)} must rise from {FEWEST} seeds or more")
    share = np.array(looks, dtype=float) / looks[-1]
    spent = 2 * special.ndtr(special.ndtri(alpha / 2) / np.sqrt(share))
    return tuple(float(part) for part in np.diff(spent, prepend=0.0))


def declared_looks(most: int, looks: Sequence[int] = LOOKS) -> tuple[int, ...]:
    """The looks below `most` seeds, and `most` itself: what `--max-seeds` makes of them."""
    return (*(look for look in looks if look < most), most)
