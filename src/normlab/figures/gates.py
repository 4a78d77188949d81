"""`gates`: histograms of what norms with gates learned, over the epochs or at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from normlab.figures.epochs import left_out
from normlab.figures.figure import Source, noted
from normlab.figures.layers import OfLayers, epoch_ticks, layer_grid, most_layers
from normlab.figures.style import COLORS, Chart
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

BINS = 10


class Gates(OfLayers):
    """Histograms of what norms with gates learned, over the epochs or at the end."""

    title: ClassVar[str] = "figure 'gates'"
    usual: ClassVar[str] = "What the gates learned"
    kind: Literal["gates"]
    epochs: Literal["all", "last"] = "all"

    def rows(self, source: Source) -> pd.DataFrame:
        """Means over seeds of the gates' histograms.

        Returns:
            `arm`, `layer`, `epoch`, `low`, `high` (of the bin) and `share` in percent; of the last
            epoch alone if the figure says so.
        """
        names = list(map(str, range(BINS)))
        wide = self.layer_rows(source, "gates", names, "gate")
        there = wide.attrs["there"]
        if self.epochs == "last":
            wide = wide[wide["epoch"] == wide.groupby("arm")["epoch"].transform("max")]
        long = wide.melt(["arm", "layer", "epoch"], names, var_name="bin", value_name="share")
        place = long["bin"].astype(int)
        made = long.assign(low=place / BINS, high=(place + 1) / BINS, share=100 * long["share"])
        return noted(made.drop(columns="bin"), there=there)

    def reading(self, rows: pd.DataFrame) -> str:
        """What is counted, and how many gates there are."""
        return (
            "Histograms of the gates' values, mean over seeds. Where a gate is a weight of several "
            "statistics it is shown after their softmax."
            + left_out(most_layers(rows), rows.attrs["there"], "gates")
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """Maps over the epochs, or bars at the end."""
        return _maps(rows) if self.epochs == "all" else _bars(rows)


def _maps(data: pd.DataFrame) -> Chart:
    """A row per arm, a column per gate: epochs across, values upwards, darker for more."""
    color = _shares(data, "Share of the gate's values, %")

    def maps(part: pd.DataFrame, is_last: bool) -> Any:
        return (
            alt.Chart(part)
            .mark_rect()
            .encode(
                x=alt.X("epoch:O", title="Epoch" if is_last else None, axis=epoch_ticks(part)),
                y=alt.Y("low:Q", title=None, axis=alt.Axis(values=[0, 0.5, 1], grid=False)),
                y2="high:Q",
                color=color,
                tooltip=_tooltip(),
            )
        )

    return layer_grid(maps, data)


def _bars(data: pd.DataFrame) -> Chart:
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
                tooltip=_tooltip(),
            )
        )

    return layer_grid(histograms, data)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("low:Q", title="from"),
        alt.Tooltip("high:Q", title="to"),
        alt.Tooltip("share:Q", title="share, %", format=".1f"),
    ]


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
