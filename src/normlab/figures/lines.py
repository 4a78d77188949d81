"""Lines with bands over epochs: how every figure of numbers by epoch is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from normlab.figures.figure import NotDrawnError
from normlab.figures.style import (
    WIDTH,
    Chart,
    Series,
    below,
    faded,
    in_rows,
    key,
    picking,
)
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd


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
