"""Sides of a claim: an arm, or several whose means are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from normlab.stats.intervals import Values

Side: TypeAlias = int | tuple[int, ...]
"""The index of an arm, or several (`norm: batch` at every batch size)."""


def members(side: Side) -> tuple[int, ...]:
    """The arms of a side."""
    return (side,) if isinstance(side, int) else tuple(sorted(set(side)))


def indicator(side: Side, arms: int) -> Values:
    """Weights (arms,) of the mean over a side."""
    return np.bincount(members(side), minlength=arms) / len(members(side))


def differences(side: Side, others: Sequence[Side], arms: int) -> Values:
    """Weights (others, arms) of a side's mean minus each other side's."""
    return indicator(side, arms) - np.vstack([indicator(other, arms) for other in others])


def side_text(side: Side, arms: Sequence[str]) -> str:
    """A side in words."""
    labels = [arms[arm] for arm in members(side)]
    more = f" and {len(labels) - 1} more"
    return labels[0] if len(labels) == 1 else f"the mean over {labels[0]}{more}"


def pair_text(pair: tuple[Side, Side], arms: Sequence[str]) -> str:
    """Two sides in words."""
    return " over ".join(side_text(side, arms) for side in pair)
