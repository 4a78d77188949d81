"""Numbers of every epoch as lines: curves of scores, gradients, clipping and sparsity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from normlab.figures.base import Drawn
from normlab.figures.epochs import (
    chosen_layers,
    details,
    drawn_epochs,
    left_out,
    over_seeds,
)
from normlab.figures.lines import line_chart
from normlab.frames.load import Frames

SPLIT_TITLES = {"train": "Train (running)", "validation": "Validation", "test": "Test"}

_TITLES = {
    "accuracy": "Accuracy, %",
    "macro_f1": "Macro F1, %",
    "micro_f1": "Micro F1, %",
    "ece": "Calibration error, %",
    "loss": "Loss",
    "lr": "Learning rate",
    "seconds": "Seconds of an epoch",
    "examples_per_second": "Training images per second",
}
_PERCENT = ("accuracy", "macro_f1", "micro_f1", "ece")
_OF_SPLITS = (*_PERCENT, "loss")

_READING = (
    "Mean over seeds with its 95 % interval as a band, cut where the figure ends. Click a name to "
    "pick it out."
)


def draw_curves(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `curves`."""
    metric = record["metric"]
    data = curve_rows(frames, record)
    title = _TITLES[metric]
    caption = _READING
    if metric in _OF_SPLITS and SPLIT_TITLES["train"] in set(data["panel"]):
        caption += " The training curve is a running one: each batch is scored before its update."
    return Drawn(
        record["heading"] or f"{title.partition(',')[0]} while training",
        caption,
        data,
        line_chart(data, frames.arms, title, scale=record["scale"]),
    )


def draw_gradients(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `gradients`."""
    names = {"gradient_norm": "Gradient", "weight_norm": "Weights"}
    data = detail_rows(frames, record["arms"], names, (0.0, math.inf))
    return Drawn(
        record["heading"] or "Norms of gradient and weights",
        "2-norms: of the gradient, penalties included and before any clipping, mean over an "
        "epoch's steps, where the recipe's diagnostics ask for it; of all parameters after the "
        f"epoch. {_READING}",
        data,
        line_chart(data, frames.arms, "2-norm", scale=record["scale"], shared=False),
    )


def draw_agc(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `agc`."""
    data = detail_rows(frames, record["arms"], {"agc_clipped": ""}, (0.0, 100.0), scale=100.0)
    return Drawn(
        record["heading"] or "Units clipped by adaptive gradient clipping",
        f"Share of units whose gradient was clipped, mean over an epoch's steps. {_READING}",
        data,
        line_chart(data, frames.arms, "Units clipped, %"),
    )


def draw_sparsity(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `sparsity`."""
    data = sparsity_rows(frames, record)
    threshold = record["threshold"]
    there = {name for found in details(frames, record["arms"], "sparsity") for name in found[-1]}
    return Drawn(
        record["heading"] or "Weights near zero",
        f"Share of each weight's values below {threshold:g} of its largest one. {_READING}"
        + left_out(len(set(data["panel"])), len(there), "weights"),
        data,
        line_chart(data, frames.arms, f"Values near zero (below {threshold:g}), %"),
    )


def curve_rows(frames: Frames, record: Mapping[str, Any]) -> pd.DataFrame:
    """A metric of every epoch per arm and split (`panel`); see `over_seeds`."""
    metric, epochs = record["metric"], drawn_epochs(frames, record["arms"])
    scale = 100.0 if metric in _PERCENT else 1.0
    columns = {"": metric}
    if metric in _OF_SPLITS:
        columns = {SPLIT_TITLES[split]: f"{split}_{metric}" for split in record["splits"]}
    parts = [
        epochs[["arm", "epoch"]].assign(panel=panel, value=scale * epochs[column])
        for panel, column in columns.items()
        if column in epochs
    ]
    return over_seeds(parts, frames.arms, (0.0, 100.0 if metric in _PERCENT else math.inf))


def detail_rows(
    frames: Frames,
    arms: Sequence[str],
    names: Mapping[str, str],
    bounds: tuple[float, float],
    scale: float = 1.0,
) -> pd.DataFrame:
    """Numbers of the epochs' details, by name -> `panel`; see `over_seeds`."""
    rows = [
        {"arm": arm, "epoch": epoch, "panel": panel, "value": scale * value}
        for name, panel in names.items()
        for arm, epoch, value in details(frames, arms, name)
    ]
    return over_seeds([pd.DataFrame(rows)], frames.arms, bounds)


def sparsity_rows(frames: Frames, record: Mapping[str, Any]) -> pd.DataFrame:
    """Shares in percent below the threshold per weight (`panel`); see `over_seeds`."""
    at = (0.001, 0.01).index(record["threshold"])
    found = list(details(frames, record["arms"], "sparsity"))
    names = chosen_layers([shares for *_, shares in found], record["layers"], "weight")
    rows = [
        {"arm": arm, "epoch": epoch, "panel": name, "value": 100 * shares[name][at]}
        for arm, epoch, shares in found
        for name in names
        if name in shares
    ]
    return over_seeds([pd.DataFrame(rows)], frames.arms, (0.0, 100.0))
