"""Trials that never learned: counted, tested, and left out of a second table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from normlab.frames.load import Frames, once
from normlab.frames.scores import chance, score_array
from normlab.lazy import pandas as pd
from normlab.stats.collapse import collapse_rates, collapsed


@once
def collapse_table(frames: Frames) -> pd.DataFrame:
    """A row per arm: counted `trials`, those `collapsed`, and `p` of the arm's rate.

    Collapsed is a final test accuracy below `collapse_bar`. p is Fisher's exact test against all
    other arms, Bonferroni-adjusted over the arms; 1 where none collapsed.
    """
    scores = score_array(frames, "test_accuracy", "last")
    rates = collapse_rates(scores, chance(frames))
    return pd.DataFrame(
        {"arm": frames.arms, "trials": rates.trials, "collapsed": rates.collapsed, "p": rates.p}
    )


def never_learned(table: pd.DataFrame) -> list[str]:
    """Arms, of a table of collapses, every trial of which collapsed."""
    every = (table["collapsed"] > 0) & (table["collapsed"] == table["trials"])
    return [str(arm) for arm in table.loc[every, "arm"]]


def without_collapsed(frames: Frames) -> Frames:
    """The study without its collapsed and diverged trials: those are marked failed."""
    accuracy = frames.trials["test_accuracy"].astype(float).to_numpy()
    out = collapsed(accuracy, chance(frames)) | (frames.trials["state"] == "diverged").to_numpy()
    states = np.where(out, "failed", frames.trials["state"])
    return replace(frames, trials=frames.trials.assign(state=states))
