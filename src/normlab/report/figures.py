"""The figures of a report: drawing only, from the tables of `normlab.report.tables`."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

Chart = alt.LayerChart | alt.FacetChart

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe & Ito 2008: told apart under every common color blindness."""

SPLIT_TITLES = {"train": "Train (running)", "validation": "Validation", "test": "Test"}

_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def interval_figure(arms: pd.DataFrame, seeds: pd.DataFrame) -> Chart:
    """Final test accuracy: a dot per seed, the mean and its interval per arm, in percent."""
    order = arms["arm"].tolist()
    shown = arms.dropna(subset=["test_mean"])
    means = _percent(shown[["arm", "test_mean", "test_low", "test_high", "finished"]])
    dots = _percent(seeds)
    y = alt.Y("arm:N", sort=order, title=None, axis=alt.Axis(labelLimit=320, labelPadding=8))
    scale = alt.Scale(zero=False, nice=False, padding=12)
    base = alt.Chart(means).encode(y=y, color=_color(order, legend=False))
    rule = (
        base.transform_filter("isValid(datum.test_low)")
        .mark_rule(strokeWidth=2.5)
        .encode(x=alt.X("test_low:Q", scale=scale, title="Test accuracy, %"), x2="test_high:Q")
    )
    mean = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("test_mean:Q", scale=scale, title="Test accuracy, %"),
        tooltip=[
            alt.Tooltip("arm:N"),
            alt.Tooltip("test_mean:Q", title="mean, %", format=".2f"),
            alt.Tooltip("test_low:Q", title="95 % from", format=".2f"),
            alt.Tooltip("test_high:Q", title="to", format=".2f"),
            alt.Tooltip("finished:Q", title="seeds"),
        ],
    )
    seed = (
        alt.Chart(dots)
        .mark_circle(size=36, opacity=0.45, color="#555555")
        .encode(
            x=alt.X("test_accuracy:Q", scale=scale),
            y=y,
            yOffset=alt.value(9),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("seed:Q"),
                alt.Tooltip("test_accuracy:Q", title="test accuracy, %", format=".2f"),
                alt.Tooltip("id:N", title="trial"),
            ],
        )
    )
    # A layer without rows would have no extent, and the browser's log would say so.
    has_intervals = bool(means["test_low"].notna().any())
    layers = [rule, mean, seed] if has_intervals else [mean, seed]
    return _styled(alt.layer(*layers).properties(width=780, height=alt.Step(40)))


def curve_figure(curves: pd.DataFrame, order: list[str], title: str) -> Chart:
    """Learning curves with bands, one panel per split; the legend picks an arm out.

    The vertical axis fits the means: a band of two or three seeds can be far wider and is cut.

    Args:
        curves: From `curve_table`, scaled to the unit of the title.
        order: Labels of the arms, in order.
        title: Of the vertical axis.
    """
    panels = [text for split, text in SPLIT_TITLES.items() if split in set(curves["split"])]
    data = curves.assign(panel=curves["split"].map(SPLIT_TITLES))
    picked = alt.selection_point(fields=["arm"], bind="legend")
    epochs = sorted(set(curves["epoch"]))
    ticks = epochs[:: max(1, math.ceil(len(epochs) / 8))]
    low, high = curves["mean"].min(), curves["mean"].max()
    margin = 0.04 * (high - low) or 0.5
    scale = alt.Scale(domain=[max(0.0, low - margin), high + margin], nice=False)
    base = alt.Chart(data).encode(
        x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(values=ticks, format="d")),
        color=_color(order, legend=True),
    )
    band = (
        base.transform_filter("isValid(datum.low)")
        .mark_area(clip=True)
        .encode(
            y=alt.Y("low:Q", scale=scale),
            y2="high:Q",
            opacity=alt.condition(picked, alt.value(0.14), alt.value(0)),
        )
    )
    line = base.mark_line(strokeWidth=2, clip=True, point=len(epochs) == 1).encode(
        y=alt.Y("mean:Q", title=title, scale=scale),
        strokeDash=_dash(order),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.12)),
        tooltip=[
            alt.Tooltip("arm:N"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("mean:Q", format=".4g"),
            alt.Tooltip("low:Q", title="95 % from", format=".4g"),
            alt.Tooltip("high:Q", title="to", format=".4g"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    layers = [band, line] if curves["low"].notna().any() else [line]
    panel = alt.layer(*layers).properties(width=278, height=250)
    facet = panel.facet(column=alt.Column("panel:N", sort=panels, title=None)).add_params(picked)
    return _styled(facet)


def _color(order: list[str], *, legend: bool) -> alt.Color:
    colors = [COLORS[index % len(COLORS)] for index in range(len(order))]
    return alt.Color(
        "arm:N",
        sort=order,
        scale=alt.Scale(domain=order, range=colors),
        legend=_legend() if legend else None,
    )


def _legend() -> alt.Legend:
    return alt.Legend(title=None, orient="bottom", labelLimit=320, columns=5, symbolOpacity=1)


def _dash(order: list[str]) -> alt.StrokeDash:
    """A line pattern of its own for every round through the colors."""
    patterns = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
    dashes = [patterns[index // len(COLORS) % len(patterns)] for index in range(len(order))]
    return alt.StrokeDash(
        "arm:N", sort=order, scale=alt.Scale(domain=order, range=dashes), legend=_legend()
    )


def _percent(frame: pd.DataFrame) -> pd.DataFrame:
    scaled = frame.copy()
    for column in scaled.columns:
        if column.startswith("test_"):
            scaled[column] = scaled[column].astype(float) * 100
    return scaled


def _styled(chart: Chart) -> Chart:
    axis = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    styled: Chart = (
        chart.configure(font=_FONT, background="white")
        .configure_view(stroke=None)
        .configure_axis(**axis, grid=True, gridColor="#eceff3")
        .configure_header(labelFontSize=13, labelFontWeight="bold")
        .configure_legend(labelFontSize=12, symbolStrokeWidth=3)
    )
    return styled
