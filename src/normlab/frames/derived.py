"""Metrics that others of the same trial tell, made where a study's trials are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from normlab.lazy import pandas as pd

_SPLITS = ("test", "validation", "train")
_NEAR_ZERO = 1  # of the thresholds recorded, 0.001 and 0.01 of a weight's largest value


def add_f1_gaps(epochs: pd.DataFrame) -> None:
    """Micro minus macro F1 of each split as columns of its own; those that are there are kept.

    Args:
        epochs: With `<split>_micro_f1` and `<split>_macro_f1`; changed in place.
    """
    for split in _SPLITS:
        name = f"{split}_f1_gap"
        found = epochs[f"{split}_micro_f1"] - epochs[f"{split}_macro_f1"]
        epochs[name] = epochs[name].fillna(found) if name in epochs else found


def loss_rises(epochs: pd.DataFrame) -> pd.Series[float]:
    """By trial, in how many more steps between epochs the test loss rises than that of training.

    Args:
        epochs: A row per epoch: `id`, `epoch`, `test_loss`, `train_loss`.

    Returns:
        A number for each `id`; NaN where a trial has one epoch, or an epoch without a loss.
    """
    ordered = epochs.sort_values("epoch", kind="stable")
    trials = ordered.groupby("id", sort=False)
    test, train = (
        (trials[loss].diff() > 0).groupby(ordered["id"]).sum().astype(float)
        for loss in ("test_loss", "train_loss")
    )
    whole = (trials["test_loss"].count() == trials.size()) & (
        trials["train_loss"].count() == trials.size()
    )
    return (test - train).where(whole & (trials.size() > 1))


def sparsity(details: object) -> float:
    """Mean over a model's weights of the share of values near zero; NaN where none was recorded.

    Args:
        details: Of an epoch, with `sparsity` by weight; see `normlab.train.diagnostics`.
    """
    found = details.get("sparsity") if isinstance(details, Mapping) else None
    if not found:
        return float("nan")
    return float(np.mean([shares[_NEAR_ZERO] for shares in found.values()]))
