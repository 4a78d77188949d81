"""Trials that trained together: their seconds and their memory are shares of a group's."""

from __future__ import annotations

from normlab.frames.load import Frames
from normlab.lazy import pandas as pd


def together(trials: pd.DataFrame) -> pd.Series[int]:
    """The most trials that trained side by side with each, itself included; 1 where none is known.

    Args:
        trials: A row each; of trials run elsewhere the column may be missing, or hold texts.
    """
    given = trials.reindex(columns=["together"])["together"]
    return pd.to_numeric(given, errors="coerce").fillna(1).astype(int)


def arms_with_shares(frames: Frames) -> frozenset[str]:
    """The arms some of whose trials trained together with others."""
    shared = frames.trials[together(frames.trials) > 1]
    return frozenset(map(str, shared["arm"]))
