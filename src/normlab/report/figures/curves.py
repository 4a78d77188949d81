"""Numbers of every epoch as lines: curves of scores, gradients, clipping and sparsity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from normlab.report.figures.base import (
    WIDTH,
    Chart,
    Drawn,
    NotDrawnError,
    Series,
    below,
    faded,
    in_rows,
    key,
    picking,
)
from normlab.report.figures.epochs import (
    chosen_layers,
    details,
    drawn_epochs,
    left_out,
    over_seeds,
)
from normlab.report.frames import Frames

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

_READING = "Mean over seeds with its 95 % interval as a band. Click a name to pick it out."


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
        f"2-norms: of the gradient, penalties included and before any clipping, mean over an "
        f"epoch's steps, where `diagnostics` asks for it; of all parameters after it. {_READING}",
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


def line_chart(
    data: pd.DataFrame,
    every: Sequence[str],
    title: str,
    *,
    scale: str = "linear",
    shared: bool = True,
) -> Chart:
    """Lines with bands over epochs, a panel each; the key picks an arm out.

    The vertical axis fits the means: a band of two or three seeds can be far wider and is cut.

    Args:
        data: From `over_seeds`.
        every: All arms of the report.
        title: Of the vertical axis.
        scale: `linear` or `log`; zeros have no place on the latter and are left out.
        shared: Whether the panels share the vertical axis.
    """
    if scale == "log":
        data = data[data["mean"] > 0]
        if not len(data):
            raise NotDrawnError("nothing above 0 for a logarithmic axis")
        data = data.assign(low=data["low"].clip(lower=data["mean"].min() / 10))
    panels = list(dict.fromkeys(data["panel"]))
    series = Series("arm", [arm for arm in every if arm in set(data["arm"])], every)
    picked = picking(series)
    columns = min(len(panels), 3)
    width = (WIDTH - 70) // columns - 22 if len(panels) > 1 else 560
    made = [
        _panel(
            part := data[data["panel"] == panel],
            series,
            picked,
            alt.Scale(
                type="log" if scale == "log" else "linear",
                domain=_domain(data if shared else part, scale),
                nice=False,
            ),
            title if number % columns == 0 else None,
        ).properties(width=width, height=250, **({"title": panel} if panel else {}))
        for number, panel in enumerate(panels)
    ]
    return below(in_rows(made, columns), key(series, picked))


def _domain(data: pd.DataFrame, scale: str) -> list[float]:
    low, high = float(data["mean"].min()), float(data["mean"].max())
    if scale == "log":
        return [low / 1.15, high * 1.15]
    room = 0.04 * (high - low) or 0.04 * abs(high) or 0.5
    return [max(0.0, low - room), high + room]


def _panel(
    data: pd.DataFrame,
    series: Series,
    picked: alt.Parameter,
    scale: alt.Scale,
    title: str | None,
) -> Chart:
    epochs = sorted(set(data["epoch"]))
    ticks = epochs[:: max(1, math.ceil(len(epochs) / 8))]
    base = alt.Chart(data).encode(
        x=alt.X(
            "epoch:Q",
            title="Epoch",
            axis=alt.Axis(values=ticks, format="d"),
            scale=alt.Scale(domain=_ends(epochs), nice=False, zero=False),
        ),
        color=series.color(),
    )
    y = alt.Y("mean:Q", title=title, scale=scale)
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        y=y, strokeDash=series.dash(), opacity=faded(picked)
    )
    # Shapes at some epochs, each series' at its own, so that marks seldom hide one another.
    marked = _marked(data, series.names, epochs)
    mark = (
        alt.Chart(marked)
        .mark_point(filled=True, size=46, clip=True)
        .encode(
            x=base.encoding.x,
            y=y,
            color=series.color(),
            shape=series.shape(),
            opacity=faded(picked),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("mean:Q", format=".4g"),
                alt.Tooltip("low:Q", title="95 % from", format=".4g"),
                alt.Tooltip("high:Q", title="to", format=".4g"),
                alt.Tooltip("seeds:Q"),
            ],
        )
    )
    layers = [line, mark]
    if data["low"].notna().any():
        band = alt.Chart(data.dropna(subset=["low"])).mark_area(clip=True)
        layers.insert(
            0,
            band.encode(
                x=base.encoding.x,
                y=alt.Y("low:Q", scale=scale, title=title),
                y2="high:Q",
                color=series.color(),
                opacity=_banded(picked, len(series.names)),
            ),
        )
    return alt.layer(*layers)


def _banded(picked: alt.Parameter, series: int) -> Any:
    """Bands are faint, the more so the more there are, until a click picks one out."""
    faint = alt.value(min(0.12, 0.5 / series))
    return (
        alt.when(picked, empty=False)
        .then(alt.value(0.2))
        .when(picked)
        .then(faint)
        .otherwise(alt.value(0))
    )


def _ends(epochs: Sequence[int]) -> list[float]:
    return [epochs[0] - 0.5, epochs[0] + 0.5] if len(epochs) == 1 else [epochs[0], epochs[-1]]


def _marked(data: pd.DataFrame, names: Sequence[str], epochs: Sequence[int]) -> pd.DataFrame:
    """The rows that get a mark: about six of each series, from a different epoch on."""
    step = max(1, math.ceil(len(epochs) / 6))
    first = {name: place % step for place, name in enumerate(names)}
    index = data["epoch"].map({epoch: place for place, epoch in enumerate(epochs)})
    return data[(index - data["arm"].map(first)) % step == 0]
