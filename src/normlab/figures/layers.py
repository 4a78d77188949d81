"""What happens in the layers: percentiles of their outputs, and gates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from normlab.figures.base import (
    COLORS,
    WIDTH,
    Chart,
    Drawn,
    NotDrawnError,
    below,
    fitted,
    wrapped,
)
from normlab.figures.epochs import chosen_layers, details, left_out
from normlab.frames.load import Frames

PERCENTILES = (1, 20, 80, 99)
BINS = 10

_HEIGHT = 84  # pixels of a panel


def draw_activations(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `activations`."""
    data, there = activation_rows(frames, record)
    return Drawn(
        record["heading"] or "What the norm layers give",
        "Percentiles 1 to 99 (light) and 20 to 80 (dark) of each norm layer's output in eval mode "
        "on 256 images, mean over seeds; layers from the input to the head."
        + left_out(_most_layers(data), there, "layers"),
        data,
        activation_chart(data),
    )


def draw_gates(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `gates`."""
    data, there = gate_rows(frames, record)
    over = record["epochs"] == "all"
    return Drawn(
        record["heading"] or "What the gates learned",
        "Histograms of the gates' values, mean over seeds. Where a gate is a weight of several "
        "statistics it is shown after their softmax."
        + left_out(_most_layers(data), there, "gates"),
        data,
        gate_maps(data) if over else gate_bars(data),
    )


def activation_rows(frames: Frames, record: Mapping[str, Any]) -> tuple[pd.DataFrame, int]:
    """Means over seeds of the percentiles, and how many layers there are.

    Returns:
        `arm`, `layer`, `epoch`, `p1`, `p20`, `p80`, `p99`, by arm, layer and epoch.

    Raises:
        NotDrawnError: Nothing was recorded.
        UserError: A layer that is wanted is not there.
    """
    names = [f"p{percentile}" for percentile in PERCENTILES]
    return _layer_rows(frames, record, "activations", names, "norm layer")


def gate_rows(frames: Frames, record: Mapping[str, Any]) -> tuple[pd.DataFrame, int]:
    """Means over seeds of the gates' histograms, and how many gates there are.

    Returns:
        `arm`, `layer`, `epoch`, `low`, `high` (of the bin) and `share` in percent; of the last
        epoch alone if the record says so.

    Raises:
        NotDrawnError: Nothing was recorded.
        UserError: A gate that is wanted is not there.
    """
    names = list(map(str, range(BINS)))
    wide, there = _layer_rows(frames, record, "gates", names, "gate")
    if record["epochs"] == "last":
        wide = wide[wide["epoch"] == wide.groupby("arm")["epoch"].transform("max")]
    long = wide.melt(["arm", "layer", "epoch"], names, var_name="bin", value_name="share")
    place = long["bin"].astype(int)
    made = long.assign(low=place / BINS, high=(place + 1) / BINS, share=100 * long["share"])
    return made.drop(columns="bin"), there


def activation_chart(data: pd.DataFrame) -> Chart:
    """A row per arm, a column per layer, all on one scale."""
    scale = alt.Scale(domain=fitted([*data["p1"], *data["p99"]]), nice=False, zero=False)

    def bands(part: pd.DataFrame, is_last: bool) -> Any:
        return alt.layer(
            *(
                alt.Chart(part)
                .mark_area(opacity=opacity, color=COLORS[0])
                .encode(
                    x=alt.X("epoch:Q", title="Epoch" if is_last else None, axis=_ticks(part)),
                    y=alt.Y(f"p{low}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4)),
                    y2=f"p{high}:Q",
                )
                for low, high, opacity in ((1, 99, 0.25), (20, 80, 0.55))
            )
        )

    return _grid(bands, data)


def gate_maps(data: pd.DataFrame) -> Chart:
    """A row per arm, a column per gate: epochs across, values upwards, darker for more."""
    color = _shares(data, "Share of the gate's values, %")

    def maps(part: pd.DataFrame, is_last: bool) -> Any:
        return (
            alt.Chart(part)
            .mark_rect()
            .encode(
                x=alt.X("epoch:O", title="Epoch" if is_last else None, axis=_ticks(part)),
                y=alt.Y("low:Q", title=None, axis=alt.Axis(values=[0, 0.5, 1], grid=False)),
                y2="high:Q",
                color=color,
                tooltip=_GATE_TIP,
            )
        )

    return _grid(maps, data)


def gate_bars(data: pd.DataFrame) -> Chart:
    """A row per arm, a column per gate: a histogram of its values."""

    def histograms(part: pd.DataFrame, is_last: bool) -> Any:
        axis = alt.Axis(values=[0, 0.5, 1])
        title = "Value of the gate" if is_last else None
        return (
            alt.Chart(part)
            .mark_bar(color=COLORS[0], binSpacing=1)
            .encode(
                x=alt.X("low:Q", title=title, bin="binned", axis=axis),
                x2="high:Q",
                y=alt.Y("share:Q", title="%", axis=alt.Axis(tickCount=3, format=".0f")),
                tooltip=_GATE_TIP,
            )
        )

    return _grid(histograms, data)


_GATE_TIP = [
    alt.Tooltip("epoch:Q"),
    alt.Tooltip("low:Q", title="from"),
    alt.Tooltip("high:Q", title="to"),
    alt.Tooltip("share:Q", title="share, %", format=".1f"),
]


def _layer_rows(
    frames: Frames, record: Mapping[str, Any], name: str, columns: Sequence[str], what: str
) -> tuple[pd.DataFrame, int]:
    """Means over seeds of lists that the details have by layer, and the most layers of an arm."""
    found = list(details(frames, record["arms"], name))
    every = chosen_layers([values for *_, values in found], record["layers"], what)
    rows, there = [], 0
    for arm in record["arms"]:
        here = [(epoch, values) for one, epoch, values in found if one == arm]
        layers = list(dict.fromkeys(layer for _, values in here for layer in values))
        there = max(there, len(layers))
        if layers and record["layers"] is None:
            every = chosen_layers([values for _, values in here], None, what)
        rows += [
            (arm, layer, epoch, *values[layer])
            for layer in every
            for epoch, values in here
            if layer in values
        ]
    made = pd.DataFrame(rows, columns=["arm", "layer", "epoch", *columns])
    if not len(made):
        raise NotDrawnError("no epoch has recorded it")
    means = made.groupby(["arm", "layer", "epoch"], sort=False)[list(columns)].mean()
    return means.reset_index(), there


def _grid(chart: Callable[[pd.DataFrame, bool], Any], data: pd.DataFrame) -> Chart:
    """A row per arm with its name above, a column per layer with its name at the top.

    Args:
        chart: Of rows of one arm; with the title of the horizontal axis, or without.
        data: Rows of all arms.
    """
    arms = list(dict.fromkeys(data["arm"]))
    width = min(220, (WIDTH - 60) // _most_layers(data) - 20)
    rows: list[Chart] = []
    above: list[str] = []
    for arm in arms:
        here = list(dict.fromkeys(data.loc[data["arm"] == arm, "layer"]))
        header = alt.Header(
            labels=here != above,
            labelExpr=f"{json.dumps(_lines(here, width // 6))}[datum.value]",
            labelLimit=width + 14,
            labelFontSize=11,
            labelFontWeight="normal",
        )
        panel = chart(data[data["arm"] == arm], arm == arms[-1])
        row = panel.properties(width=width, height=_HEIGHT).facet(
            column=alt.Column("layer:N", sort=here, title=None, header=header), spacing=14
        )
        rows.append(row.properties(title=alt.TitleParams(arm, anchor="start", offset=2)))
        above = here
    return rows[0] if len(rows) == 1 else below(*rows)


def _lines(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """Dotted names without the parts that all begin with, broken at dots where they are long."""
    parts = [name.split(".") for name in names]
    common = 0
    while len(names) > 1 and len({tuple(part[: common + 1]) for part in parts}) == 1:
        common += 1
    found = {
        name: wrapped(" ".join(part[common:]), most).replace(" ", ".").split("\n")
        for name, part in zip(names, parts, strict=True)
    }
    # Headers hang from the top: all have as many lines, the last one stands on the panel.
    most_lines = max(map(len, found.values()))
    return {name: [""] * (most_lines - len(lines)) + lines for name, lines in found.items()}


def _most_layers(data: pd.DataFrame) -> int:
    return int(data.groupby("arm")["layer"].nunique().max())


def _ticks(data: pd.DataFrame) -> alt.Axis:
    epochs = sorted(set(data["epoch"]))
    every = max(1, math.ceil(len(epochs) / 4))
    return alt.Axis(values=epochs[::every], format="d", labelAngle=0, grid=False)


def _shares(data: pd.DataFrame, title: str) -> alt.Color:
    return alt.Color(
        "share:Q",
        scale=alt.Scale(
            domain=[0, max(data["share"].max(), 1)], range=["#eef3f8", "#08306b"], interpolate="lab"
        ),
        legend=alt.Legend(
            title=title, titleLimit=0, orient="bottom", gradientLength=200, format=".0f"
        ),
    )
