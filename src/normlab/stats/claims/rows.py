"""The verdicts' table, a function per row: limits in, what they support and refute out.

Arrays may have leading axes; `low` and `high` of several contrasts lie along the last one. Limits
that are not known (NaN) settle nothing. No row can say both: limits at a smaller alpha contain
those at a larger one, and low <= high.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.stats.claims.kinds import Best, Claim, Equal, Ranking
from normlab.stats.collapse import Flags
from normlab.stats.contrasts import Estimates
from normlab.stats.intervals import Values

SUPPORTED, REFUTED, INCONCLUSIVE = 1, -1, 0


class Row(NamedTuple):
    """Where a claim is supported and where it is refuted; inconclusive elsewhere."""

    supported: Flags
    refuted: Flags


def decide(
    claim: Claim, found: Estimates, alpha: float, margin: float | None = None
) -> npt.NDArray[np.int8]:
    """Verdicts on a claim: +1 supported, -1 refuted, 0 inconclusive, over leading axes.

    Args:
        claim: Whose row of the table.
        found: Estimates of its contrasts (..., contrasts).
        alpha: What it is tested at.
        margin: In the unit of the estimates; the claim's own if not given.
    """
    row = row_of(claim, found, alpha, claim.margin if margin is None else margin)
    return np.asarray(row.supported, dtype=np.int8) - np.asarray(row.refuted, dtype=np.int8)


def row_of(claim: Claim, found: Estimates, alpha: float, margin: float) -> Row:
    """The row of a claim on its estimates; arguments as of `decide`."""
    low, high = found.limits(alpha)
    if isinstance(claim, Best | Ranking):
        return every_row(low, found.limits(alpha / low.shape[-1])[1])
    outer = low[..., 0], high[..., 0]
    if isinstance(claim, Equal):
        low, high = found.limits(2 * alpha)
        return equal_row((low[..., 0], high[..., 0]), outer, margin)
    return better_row(*outer, margin)


def better_row(low: Values, high: Values, margin: float) -> Row:
    """`better`, `trend`, `interaction`, `faster`: above 0, or not so and below the margin."""
    return Row(low > 0, (low <= 0) & (high < margin))


def equal_row(inner: tuple[Values, Values], outer: tuple[Values, Values], margin: float) -> Row:
    """`equal`: the (1 - 2 alpha) interval inside +- margin, or the (1 - alpha) one outside it."""
    inside = (inner[0] > -margin) & (inner[1] < margin)
    return Row(inside, (outer[0] >= margin) | (outer[1] <= -margin))


def every_row(low: Values, corrected_high: Values) -> Row:
    """`best` and `ranking`: every contrast above 0, or one of them below.

    "Every one" needs no correction (intersection-union: the claim is false if one is). "One of
    them" does: it has as many chances to err as contrasts.

    Args:
        low: (..., contrasts) lower limits at the claim's alpha.
        corrected_high: Upper limits at alpha / contrasts.
    """
    supported: Flags = np.asarray(np.all(low > 0, axis=-1))
    refuted: Flags = np.asarray(np.any(corrected_high < 0, axis=-1))
    return Row(supported, refuted)
