"""The verdicts' table, a function per row: limits in, what they support and refute out.

Arrays may have leading axes; `low` and `high` of several contrasts lie along the last one. Limits
that are not known (NaN) settle nothing. No row can say both: limits at a smaller alpha contain
those at a larger one, and low <= high.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from normlab.stats.collapse import Flags
from normlab.stats.intervals import Values


class Row(NamedTuple):
    """Where a claim is supported and where it is refuted; inconclusive elsewhere."""

    supported: Flags
    refuted: Flags


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
