"""`collapses`: how many trials never learned, in each cell of one or two factors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

import numpy as np

from normlab.arms import Arms
from normlab.figures.figure import Context, Needs, NotDrawnError, OfArms, Source, noted
from normlab.figures.keys import Text
from normlab.figures.places import Places, places_of
from normlab.figures.style import WIDTH, Chart, named_axis, names_width, row_step, wrapped
from normlab.frames.scores import chance, score_array
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.stats.collapse import collapse_bar, collapsed, fractions

_ROW = "all"
_WIDEST = 110  # pixels of a cell


class Collapses(OfArms):
    """How many trials never learned, by the levels of one factor or two."""

    one_by_one: ClassVar[bool] = False
    title: ClassVar[str] = "figure 'collapses'"
    usual: ClassVar[str] = "Trials that never learned"
    kind: Literal["collapses"]
    x: Text
    """The factor whose levels are columns."""
    y: Text | None = None
    """The factor whose levels are rows; left out, there is one row."""

    def places(self, arms: Arms) -> Places:
        """The cell of each arm; see `normlab.figures.places`."""
        there = arms.levels if self.arms is None else map(str, self.arms)
        mine = Arms({label: arms.levels[label] for label in there}, fixed=arms.fixed)
        lines = (self.y,) if self.y else ()
        return places_of(mine, self.x, lines, None, named=True, log=False)

    def resolved(self, context: Context) -> Self:
        """Its factors must be there."""
        found = super().resolved(context)
        found.places(context.arms)
        return found

    def needs(self) -> Needs:
        """The accuracy that a collapse is told by."""
        return Needs(frozenset({"test"}))

    def rows(self, source: Source) -> pd.DataFrame:
        """A row per cell.

        Returns:
            `y` and `x`, its levels in words; `trials` that finished, `collapsed` ones among them,
            their `share` with the limits `low` and `high` of its exact 95 % interval.
        """
        frames = source.frames
        bar = collapse_bar(chance(frames))
        if not np.isfinite(bar):
            raise NotDrawnError("it is not known how many classes there are")
        places = self.places(Arms({arm.label: arm.levels for arm in frames.plan.arms}))
        scores = score_array(frames, "test_accuracy", "last")
        place = {label: row for row, label in enumerate(frames.arms)}
        finished = np.isfinite(scores).sum(axis=1)
        hits = collapsed(scores, chance(frames)).sum(axis=1)
        cells: dict[tuple[str, str], list[int]] = {}
        for point in places.points:
            cells.setdefault((point.line or _ROW, str(point.x)), []).append(place[point.arm])
        table = pd.DataFrame(
            [
                {
                    "y": y,
                    "x": x,
                    "trials": int(finished[of].sum()),
                    "collapsed": int(hits[of].sum()),
                }
                for (y, x), of in cells.items()
            ]
        )
        table = table[table["trials"] > 0].reset_index(drop=True)
        if not len(table):
            raise NotDrawnError("no trial has finished yet")
        share, low, high = fractions(table["collapsed"], table["trials"])
        # An arm that stands in several rows counts once.
        arms = [*{place[point.arm]: None for point in places.points}]
        return noted(
            table.assign(share=share, low=low, high=high),
            places=places,
            bar=bar,
            total=(int(hits[arms].sum()), int(finished[arms].sum())),
        )

    def title_of(self, rows: pd.DataFrame) -> str:
        """With its factors."""
        return f"{self.usual}, by {self.x}" + (f" and {self.y}" if self.y else "")

    def reading(self, rows: pd.DataFrame) -> str:
        """What a number is, and what has no cell."""
        places: Places = rows.attrs["places"]
        collapses, trials = rows.attrs["total"]
        text = (
            "In each cell the trials that collapsed, of those that finished: a collapsed one ends "
            f"with a test accuracy below {100 * rows.attrs['bar']:.3g} %. The darker, the larger "
            f"their share. In all, {collapses} of {trials}."
        )
        if places.repeated:
            text += f" In every row that has nothing else there: {'; '.join(places.repeated)}."
        if places.without:
            text += f" Without a level of {self.x}: {'; '.join(places.without)}."
        return text

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A matrix; levels that are numbers ascend, others are in the study's order."""
        places: Places = rows.attrs["places"]
        columns = _in_order(str(point.x) for point in places.points)
        lines = _in_order(point.line or _ROW for point in places.points)
        step = max(30, min(_WIDEST, (WIDTH - names_width(lines) - 40) // len(columns)))
        straight = max(map(len, columns)) <= step // 7
        x_axis = alt.Axis(labelAngle=0 if straight else -40, labelLimit=0, grid=False)
        x = alt.X("x:N", sort=columns, title=self.x, axis=x_axis, scale=alt.Scale(domain=columns))
        y = alt.Y(
            "y:N",
            sort=lines,
            title=wrapped(self.y, 30).split("\n") if self.y else None,
            axis=named_axis(lines, grid=False) if self.y else None,
            scale=alt.Scale(domain=lines),
        )
        tooltip = [
            alt.Tooltip("y:N", title=self.y or _ROW),
            alt.Tooltip("x:N", title=self.x),
            alt.Tooltip("collapsed:Q"),
            alt.Tooltip("trials:Q"),
            alt.Tooltip("low:Q", title="95 % from", format=".0%"),
            alt.Tooltip("high:Q", title="to", format=".0%"),
        ]
        texts = rows.assign(
            text=[
                f"{hit} of {of}" for hit, of in zip(rows["collapsed"], rows["trials"], strict=True)
            ],
            ink=np.where(rows["share"] > 0.5, "#ffffff", "#1c2430"),
        )
        base = alt.Chart(texts).encode(x=x, y=y, tooltip=tooltip)
        # One hue, light to dark: read alike in grey.
        scale = alt.Scale(domain=[0, 1], range=["#eef2f7", "#6b2a00"], interpolate="lab")
        made: Chart = (
            alt.layer(
                base.mark_rect(stroke="#ffffff", strokeWidth=2).encode(
                    color=alt.Color("share:Q", scale=scale, legend=None)
                ),
                base.mark_text(fontSize=12).encode(
                    text="text:N", color=alt.Color("ink:N", scale=None)
                ),
            )
            .resolve_scale(color="independent")
            .properties(width=step * len(columns), height=row_step(lines, 34) * len(lines))
        )
        return made


def _in_order(levels: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(levels))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found
