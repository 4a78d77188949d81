"""What `dots` and `bars` share: metrics side by side, arm by arm, with what was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import field_validator

from normlab.figures.figure import Context, Needs, NotDrawnError, OfArms, Source, noted
from normlab.figures.keys import Measure, Measures
from normlab.figures.measures import metric_title, needs_of, part, scored_rows, source_epochs
from normlab.figures.style import (
    GREY,
    WIDTH,
    Chart,
    Series,
    below,
    fitted,
    in_rows,
    key,
    named_axis,
    names_width,
    picking,
    row_step,
    wrapped,
)
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.stats.claims.keys import At

_IN_A_ROW = 3


class ByArm(OfArms):
    """Metrics side by side, arm by arm, with what the source published as an open mark."""

    metrics: Measures | None = None
    at: At | None = None
    together: bool = False
    """Metrics of one unit in one panel instead of one each."""

    usual: ClassVar[str] = "Arms side by side"
    mean_mark: ClassVar[str]
    """What a mean is drawn as, in words."""
    has_bars: ClassVar[bool] = False

    @field_validator("metrics")
    @classmethod
    def _distinct(cls, value: tuple[Measure, ...] | None) -> tuple[Measure, ...] | None:
        for metric in value or ():
            if (value or ()).count(metric) > 1:
                name = metric if isinstance(metric, str) else "time_to"
                raise ValueError(f"{name} is there twice")
        return value

    def resolved(self, context: Context) -> Self:
        """With the study's metric and epoch where it says neither."""
        left = {
            "metrics": self.metrics or (context.analysis.metric,),
            "at": self.at or context.analysis.at,
        }
        return super().resolved(context).model_copy(update=left)

    def needs(self) -> Needs:
        """What its metrics need."""
        return needs_of(self.metrics or (), self.at)

    def rows(self, source: Source) -> pd.DataFrame:
        """The rows of `scored_rows` for each arm, with `metric`, the title of its axis."""
        parts, metrics = [], self.metrics or ()
        for metric in metrics:
            columns = {"metric": metric_title(metric)}
            groups = [({**columns, "arm": arm}, [arm]) for arm in self.labels(source)]
            try:
                parts.append(scored_rows(source.frames, metric, self.at or "last", groups))
            except NotDrawnError:
                if len(metrics) == 1:
                    raise
        if not parts:
            raise NotDrawnError("no finished trial has any of its metrics yet")
        epochs = source_epochs(source.frames, metrics, self.at or "last")
        return noted(pd.concat(parts, ignore_index=True), source_epochs=epochs)

    def title_of(self, rows: pd.DataFrame) -> str:
        """The metrics without their units, as words of one sentence."""
        words = [title.partition(",")[0] for title in dict.fromkeys(rows["metric"])]
        words = [words[0], *(word[0].lower() + word[1:] for word in words[1:])]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

    def reading(self, rows: pd.DataFrame) -> str:
        """Dots, means, intervals, what never got there and what was printed."""
        text = (
            f"Each small dot is one seed; the {self.mean_mark} is their mean, the line its 95 % "
            "interval."
        )
        if not rows.loc[rows["part"] == "seed", "reached"].all():
            text += " A small triangle is a training that never got there, at its whole length."
        if (rows["part"] == "published").any():
            epochs = rows.attrs.get("source_epochs", "")
            text += f" An open diamond is what the source printed{epochs}."
        return text

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per metric, or one panel where they are shown together; arms are rows."""
        return arm_chart(rows, every, bars=self.has_bars, together=self.together)


def arm_chart(
    data: pd.DataFrame, every: Sequence[str], *, bars: bool = False, together: bool = False
) -> Chart:
    """A panel per metric, or one panel where they are shown together; arms are rows.

    Args:
        data: From `ByArm.rows`.
        every: All arms of the report.
        bars: Bars from 0 instead of dots on an axis that fits.
        together: All metrics in one panel, told apart by color and shape.
    """
    arms = [arm for arm in every if arm in set(data["arm"])]
    titles = list(dict.fromkeys(data["metric"]))
    if together and len(titles) > 1:
        series = Series("metric", titles)
        picked = picking(series)
        units = [title.partition(", ")[2] for title in titles]
        axis = units[0] if len(set(units)) == 1 else ""
        panel = _panel(data, arms, series, axis, WIDTH - names_width(arms), bars=bars)
        return below(panel, key(series, picked))
    rows = [titles[start : start + _IN_A_ROW] for start in range(0, len(titles), _IN_A_ROW)]
    lines = []
    for row in rows:
        width = (WIDTH - names_width(arms)) // len(row) - 26
        panels = [
            _panel(
                data[data["metric"] == title],
                arms,
                Series("arm", arms, every),
                title,
                max(width, 170),
                bars=bars,
                named=number == 0,
            )
            for number, title in enumerate(row)
        ]
        lines.append(in_rows(panels, _IN_A_ROW))
    return lines[0] if len(lines) == 1 else below(*lines)


def _panel(
    data: pd.DataFrame,
    arms: Sequence[str],
    series: Series,
    title: str,
    width: int,
    *,
    bars: bool,
    named: bool = True,
) -> Chart:
    grouped = series.column == "metric"
    lanes = len(series.names) if grouped else 1
    step = row_step(arms, (34 if len(arms) <= 12 else 26) if lanes == 1 else 16 * lanes + 10)
    axis = named_axis(arms, grid=grouped) if named else alt.Axis(labels=False, ticks=False)
    y = alt.Y("arm:N", sort=list(arms), title=None, axis=axis, scale=alt.Scale(padding=0.12))
    values = pd.concat([data["value"], data["low"], data["high"]])
    domain = fitted([0.0, *values] if bars else values)
    if bars and (values.dropna() >= 0).all():
        domain[0] = 0.0
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    text = wrapped(title, width // 7).split("\n")
    ticks = alt.Axis(tickCount=max(3, width // 80))
    x = alt.X("value:Q", title=text, scale=scale, axis=ticks)
    lane: dict[str, Any] = (
        {"yOffset": alt.YOffset("metric:N", sort=list(series.names))} if grouped else {}
    )
    means = part(data, "mean")
    base = alt.Chart(means).encode(y=y, **lane)
    tooltip = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("value:Q", title="mean", format=".4g"),
        alt.Tooltip("low:Q", title="95 % from", format=".4g"),
        alt.Tooltip("high:Q", title="to", format=".4g"),
        alt.Tooltip("seeds:Q"),
    ]
    ink = alt.value("#1c2430") if bars else series.color()
    layers = []
    if bars:
        layers.append(
            base.mark_bar(opacity=0.55).encode(x=x, color=series.color(), tooltip=tooltip)
        )
    if "low" in means:  # a layer without rows has no extent, and the browser says so
        known = alt.Chart(means.dropna(subset=["low"])).encode(y=y, **lane)
        layers.append(
            known.mark_rule(strokeWidth=2).encode(
                x=alt.X("low:Q", scale=scale, title=text, axis=ticks), x2="high:Q", color=ink
            )
        )
    layers.append(_seeds(part(data, "seed"), y, x, lane, step=step, lanes=lanes))
    if not bars:
        layers.append(
            base.mark_point(filled=True, size=100, opacity=1).encode(
                x=x, color=ink, shape=series.shape(), tooltip=tooltip
            )
        )
    published = part(data, "published")
    if len(published):
        layers.append(
            alt.Chart(published)
            .mark_point(shape="diamond", size=110, stroke="#000000", strokeWidth=1.6)
            .encode(y=y, x=x, tooltip=[alt.Tooltip("value:Q", title="published")], **lane)
        )
    # With lanes a step would be that of a lane.
    height = alt.Step(step, **{"for": "position"})
    made: Chart = alt.layer(*layers).properties(width=width, height=height)
    return made


def _seeds(
    seeds: pd.DataFrame, y: alt.Y, x: alt.X, lane: dict[str, Any], *, step: int, lanes: int
) -> Chart:
    """A small mark per seed below the mean; of a time never reached an open triangle."""
    below_mean = lane or {"yOffset": alt.value(0.72 * step if lanes == 1 else 0)}
    made: Chart = (
        alt.Chart(seeds.assign(mark=np.where(seeds["reached"], "circle", "triangle-right")))
        .mark_point(filled=True, size=24, opacity=0.5, color=GREY)
        .encode(
            y=y,
            x=x,
            shape=alt.Shape("mark:N", scale=None),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("seed:Q"),
                alt.Tooltip("value:Q", format=".4g"),
                alt.Tooltip("id:N", title="trial"),
            ],
            **below_mean,
        )
    )
    return made
