"""What `factor` and `interaction` share: a metric against a factor, a line per level of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from normlab.arms import Arms
from normlab.figures.figure import Context, Needs, OfArms, Source, noted
from normlab.figures.keys import Measure, Names, Text
from normlab.figures.measures import metric_title, needs_of, part, scored_rows, source_epochs
from normlab.figures.places import Places, places_of
from normlab.figures.style import (
    WIDTH,
    Chart,
    Series,
    below,
    faded,
    fitted,
    in_rows,
    key,
    picking,
    wrapped,
)
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.stats.claims.keys import At

_IN_A_ROW = 3
_ALL = "all"


class AgainstFactor(OfArms):
    """A metric against a factor: dots, means and intervals."""

    metric: Measure | None = None
    at: At | None = None
    x: Text
    lines: Names | None = None
    panels: Text | None = None

    one_by_one: ClassVar[bool] = False
    named: ClassVar[bool] = False
    """Whether the axis has names, also of numbers."""

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return False

    def places(self, arms: Arms) -> Places:
        """Where each arm stands; see `normlab.figures.places`."""
        there = arms.levels if self.arms is None else map(str, self.arms)
        mine = Arms({label: arms.levels[label] for label in there}, fixed=arms.fixed)
        return places_of(
            mine, self.x, self.lines or (), self.panels, named=self.named, log=self.log
        )

    def resolved(self, context: Context) -> Self:
        """With the study's metric and epoch where it says neither; its factors must be there."""
        left = {
            "metric": self.metric or context.analysis.metric,
            "at": self.at or context.analysis.at,
        }
        found = super().resolved(context).model_copy(update=left)
        found.places(context.arms)
        return found

    def needs(self) -> Needs:
        """What its metric needs."""
        return needs_of((self.metric,) if self.metric else (), self.at)

    def rows(self, source: Source) -> pd.DataFrame:
        """The rows of `scored_rows` for each `panel`, `line` and `x`."""
        plan = source.frames.plan
        places = self.places(Arms({arm.label: arm.levels for arm in plan.arms}))
        groups: dict[tuple[object, ...], list[str]] = {}
        for point in places.points:
            place = (point.panel or "", point.line or _ALL, point.x)
            groups.setdefault(place, []).append(point.arm)
        named = [
            (dict(zip(("panel", "line", "x"), place, strict=True)), arms)
            for place, arms in groups.items()
        ]
        metric = self.metric or plan.analysis.metric
        at = self.at or "last"
        epochs = source_epochs(source.frames, [metric], at)
        rows = scored_rows(source.frames, metric, at, named)
        return noted(rows, places=places, source_epochs=epochs)

    def title_of(self, rows: pd.DataFrame) -> str:
        """The metric against the factor."""
        return f"{self._metric_title().partition(',')[0]} against {self.x}"

    def _metric_title(self) -> str:
        return metric_title(self.metric) if self.metric else ""

    def reading(self, rows: pd.DataFrame) -> str:
        """Dots and means, what a mean is over, what has no place, what was printed."""
        places: Places = rows.attrs["places"]
        text = "Each small dot is one trial; the large marks are means with their 95 % intervals."
        at = [(point.panel, point.line, point.x) for point in places.points]
        if len(set(at)) < len(at):
            text += " A mean is over all arms that share these levels, each counting alike."
        if places.repeated:
            there = "; ".join(places.repeated)
            text += f" In every line or panel that has nothing else there: {there}."
        if places.without:
            text += f" Without a level of {self.x}: {'; '.join(places.without)}."
        if not rows.loc[rows["part"] == "seed", "reached"].all():
            text += " A training that never got there counts with its whole length."
        if (rows["part"] == "published").any():
            text += f" Open diamonds are what the source printed{rows.attrs['source_epochs']}."
        return text

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per level of the third factor, all on one scale."""
        places: Places = rows.attrs["places"]
        title = self._metric_title()
        lines = list(dict.fromkeys(point.line or _ALL for point in places.points))
        panels = list(dict.fromkeys(point.panel or "" for point in places.points))
        levels = list(dict.fromkeys(point.x for point in places.points))
        series, shown = Series("line", lines), rows
        if places.numeric:
            numbers = sorted(level for level in levels if not isinstance(level, str))
            levels = [*numbers]
            shown = rows.assign(x=_apart(rows, lines, numbers, log=self.log))
        picked = picking(series) if series.names != [_ALL] else None
        domain = fitted(pd.concat([rows["value"], rows["low"], rows["high"]]))
        made = [
            _panel(
                shown[shown["panel"] == panel],
                series,
                _axis(self.x, levels, shown["x"] if places.numeric else None, log=self.log),
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
        return below(drawn, key(series, picked, title=", ".join(self.lines or ())))


def _width(panels: Sequence[str], levels: Sequence[object]) -> int:
    if len(panels) == 1:
        return min(WIDTH - 80, max(480, 80 * len(levels)))
    return (WIDTH - 80) // min(len(panels), _IN_A_ROW) - 34


def _axis(factor: str, levels: Sequence[Any], x: pd.Series[Any] | None, *, log: bool) -> alt.X:
    """Of numbers where `x` has them, else of names."""
    if x is None:
        axis = alt.Axis(labelAngle=0 if max(map(len, map(str, levels))) < 10 else -30, labelLimit=0)
        return alt.X("x:N", sort=list(levels), title=factor, axis=axis)
    scale = (
        alt.Scale(type="log", domain=[x.min() / 1.1, x.max() * 1.1], nice=False)
        if log
        else alt.Scale(domain=fitted([*levels, *x]), nice=False, zero=False)
    )
    # An axis' own format rounds to the distance of its ticks: 16 would be 2e+1, 0.25 be 0.3.
    axis = alt.Axis(
        values=list(levels), labelExpr="format(datum.value, '~g')", labelOverlap="parity"
    )
    return alt.X("x:Q", title=factor, scale=scale, axis=axis)


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
