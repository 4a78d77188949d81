"""A metric against a factor: a line per level of another, every seed, means with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from normlab.figures.base import (
    WIDTH,
    Chart,
    Drawn,
    Series,
    below,
    faded,
    fitted,
    in_rows,
    key,
    picking,
    wrapped,
)
from normlab.figures.measures import metric_title, part, scored_rows
from normlab.frames.load import Frames

_IN_A_ROW = 3
_ALL = "all"


def draw(frames: Frames, record: Mapping[str, Any]) -> Drawn:
    """A figure of kind `factor` or `interaction`."""
    data = factor_rows(frames, record)
    title = metric_title(record["metric"])
    return Drawn(
        record["heading"] or f"{title.partition(',')[0]} against {record['x']}",
        _caption(data, record),
        data,
        factor_chart(data, record, title),
    )


def factor_rows(frames: Frames, record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of `scored_rows` for each `panel`, `line` and `x`."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for point in record["points"]:
        place = (point["panel"] or "", point["line"] or _ALL, point["x"])
        groups.setdefault(place, []).append(point["arm"])
    named = [
        (dict(zip(("panel", "line", "x"), place, strict=True)), arms)
        for place, arms in groups.items()
    ]
    return scored_rows(frames, record["metric"], record["at"], named)


def factor_chart(data: pd.DataFrame, record: Mapping[str, Any], title: str) -> Chart:
    """A panel per level of the third factor, all on one scale.

    Args:
        data: From `factor_rows`.
        record: The figure's.
        title: Of the vertical axis.
    """
    lines = list(dict.fromkeys(point["line"] or _ALL for point in record["points"]))
    panels = list(dict.fromkeys(point["panel"] or "" for point in record["points"]))
    levels = list(dict.fromkeys(point["x"] for point in record["points"]))
    series, shown = Series("line", lines), data
    if record["numeric"]:
        levels = sorted(levels)
        shown = data.assign(x=_apart(data, lines, levels, log=record.get("scale") == "log"))
    picked = picking(series) if series.names != [_ALL] else None
    domain = fitted(pd.concat([data["value"], data["low"], data["high"]]))
    made = [
        _panel(
            shown[shown["panel"] == panel],
            series,
            _axis(record, levels, shown["x"]),
            alt.Y(
                "value:Q",
                title=wrapped(title, 36).split("\n") if number % _IN_A_ROW == 0 else None,
                scale=alt.Scale(domain=domain, nice=False, zero=False),
            ),
            picked,
        ).properties(
            width=_width(panels, levels), height=270, **({"title": panel} if panel else {})
        )
        for number, panel in enumerate(panels)
    ]
    drawn = in_rows(made, _IN_A_ROW)
    if picked is None:
        return drawn
    return below(drawn, key(series, picked, title=", ".join(record["lines"])))


def _width(panels: Sequence[str], levels: Sequence[Any]) -> int:
    if len(panels) == 1:
        return min(WIDTH - 80, max(480, 80 * len(levels)))
    return (WIDTH - 80) // min(len(panels), _IN_A_ROW) - 34


def _axis(record: Mapping[str, Any], levels: Sequence[Any], x: pd.Series[Any]) -> alt.X:
    if not record["numeric"]:
        axis = alt.Axis(labelAngle=0 if max(map(len, map(str, levels))) < 10 else -30, labelLimit=0)
        return alt.X("x:N", sort=list(levels), title=record["x"], axis=axis)
    log = record.get("scale") == "log"
    scale = (
        alt.Scale(type="log", domain=[x.min() / 1.1, x.max() * 1.1], nice=False)
        if log
        else alt.Scale(domain=fitted([*levels, *x]), nice=False, zero=False)
    )
    # An axis' own format rounds to the distance of its ticks: 16 would be 2e+1, 0.25 be 0.3.
    axis = alt.Axis(
        values=list(levels), labelExpr="format(datum.value, '~g')", labelOverlap="parity"
    )
    return alt.X("x:Q", title=record["x"], scale=scale, axis=axis)


def _apart(
    data: pd.DataFrame, lines: Sequence[str], levels: Sequence[float], *, log: bool
) -> pd.Series[Any]:
    """Numbers a little beside each other line's, so that intervals are not drawn on one another."""
    place = data["line"].map({line: index for index, line in enumerate(lines)}).astype(float)
    shift = place - (len(lines) - 1) / 2
    step = 0.03 / max(len(lines) - 1, 1)
    if log:
        ratio: pd.Series[Any] = data["x"] * (levels[-1] / levels[0]) ** (step * shift)
        return ratio
    moved: pd.Series[Any] = data["x"] + step * (levels[-1] - levels[0]) * shift
    return moved


def _panel(
    data: pd.DataFrame, series: Series, x: alt.X, y: alt.Y, picked: alt.Parameter | None
) -> Chart:
    side: dict[str, Any] = {}
    if x["shorthand"] == "x:N" and len(series.names) > 1:
        side = {
            "xOffset": alt.XOffset(
                "line:N", sort=list(series.names), scale=alt.Scale(paddingOuter=1)
            )
        }
    means = part(data, "mean")
    base = alt.Chart(means).encode(x=x, color=series.color(), opacity=faded(picked), **side)
    tooltip = [
        alt.Tooltip("line:N"),
        alt.Tooltip("value:Q", title="mean", format=".4g"),
        alt.Tooltip("low:Q", title="95 % from", format=".4g"),
        alt.Tooltip("high:Q", title="to", format=".4g"),
        alt.Tooltip("seeds:Q", title="trials"),
    ]
    layers = [
        alt.Chart(part(data, "seed"))
        .mark_circle(size=22)
        .encode(
            x=x,
            y=y,
            color=series.color(),
            opacity=faded(picked, 0.4),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("seed:Q"),
                alt.Tooltip("value:Q", format=".4g"),
            ],
            **side,
        ),
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=series.dash()),
        base.mark_point(filled=True, size=70).encode(y=y, shape=series.shape(), tooltip=tooltip),
    ]
    if "low" in means:
        limits = alt.Y("low:Q", scale=y["scale"], title=y["title"])
        rule = alt.Chart(means.dropna(subset=["low"])).mark_rule(strokeWidth=1.5)
        layers.insert(
            1,
            rule.encode(
                x=x, y=limits, y2="high:Q", color=series.color(), opacity=faded(picked, 0.7), **side
            ),
        )
    published = part(data, "published")
    if len(published):
        mark = alt.Chart(published).mark_point(shape="diamond", size=90, strokeWidth=1.6)
        layers.append(mark.encode(x=x, y=y, color=series.color(), opacity=faded(picked), **side))
    return alt.layer(*layers)


def _caption(data: pd.DataFrame, record: Mapping[str, Any]) -> str:
    text = "Each small dot is one trial; the large marks are means with their 95 % intervals."
    places = [(point["panel"], point["line"], point["x"]) for point in record["points"]]
    if len(set(places)) < len(places):
        text += " A mean is over all arms that share these levels, each counting alike."
    if record["repeated"]:
        text += (
            f" In every line or panel that has nothing else there: {'; '.join(record['repeated'])}."
        )
    if record["without"]:
        text += f" Without a level of {record['x']}: {'; '.join(record['without'])}."
    if not data.loc[data["part"] == "seed", "reached"].all():
        text += " A training that never got there counts with its whole length."
    if (data["part"] == "published").any():
        text += " Open diamonds are what the source printed."
    return text
