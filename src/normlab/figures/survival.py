"""`survival`: the share of trials that have not reached an accuracy yet (Kaplan & Meier 1958)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from normlab.figures.figure import Needs, NotDrawnError, OfArms, Source
from normlab.figures.style import WIDTH, Chart, Series, below, faded, key, picking
from normlab.frames.scores import time_arrays
from normlab.frames.titles import time_title
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.stats.claims.keys import Timed
from normlab.stats.survival import kaplan_meier

_NAMED = 8  # arms whose counts the caption has


class Survival(Timed, OfArms):
    """Share of trials that have not reached an accuracy yet, over time (Kaplan & Meier 1958)."""

    title: ClassVar[str] = "figure 'survival'"
    usual: ClassVar[str] = "Time to accuracy"
    kind: Literal["survival"]

    def needs(self) -> Needs:
        """Its split, and as many epochs as must hold."""
        return Needs(frozenset({self.split}), self.hold)

    def rows(self, source: Source) -> pd.DataFrame:
        """Kaplan-Meier curves of the arms, from time 0 to the longest training.

        Returns:
            `arm`, `time`, `share` in percent from that time on, `at_risk`, `reached` (trials then)
            and `censored` (trials whose training ended then without reaching it).
        """
        study = time_arrays(source.frames, self.time(), self.labels(source))
        rows: list[dict[str, object]] = []
        for arm in self.labels(source):
            times, reached = study.arm(source.frames.arms.index(arm))
            if not len(times):
                continue
            curve = kaplan_meier(times, reached)
            ends, counts = np.unique(times[~reached], return_counts=True)
            censored = dict(zip(ends.tolist(), counts.tolist(), strict=True))
            share = 100.0
            steps = dict(zip(curve.time.tolist(), (100 * curve.share).tolist(), strict=True))
            for time in sorted({*steps, *censored, study.budget}):
                share = steps.get(time, share)
                hits = int((reached & (times == time)).sum())
                rows.append(
                    {
                        "arm": arm,
                        "time": time,
                        "share": share,
                        "at_risk": int((times >= time).sum()),
                        "reached": hits,
                        "censored": censored.get(time, 0),
                    }
                )
        if not rows:
            raise NotDrawnError(f"no trial has measured {time_title(self.time())}")
        return pd.DataFrame(rows)

    def title_of(self, rows: pd.DataFrame) -> str:
        """Time to the accuracy."""
        return time_title(self.time()).replace("until", "to")

    def reading(self, rows: pd.DataFrame) -> str:
        """Lines, ticks, and how many trials reached it."""
        return (
            "Share of trials that had not reached the accuracy (Kaplan-Meier): the further left a "
            "line falls, the sooner. A line that ends above 0 has trials that never got there; a "
            "tick is where their training ended. Lines that run together are drawn a little below "
            "each other. " + _successes(rows)
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """Steps per arm; ticks where a training ended without reaching it."""
        series = Series("arm", [arm for arm in every if arm in set(rows["arm"])], every)
        picked = picking(series)
        # Lines that run together lie a little below each other.
        step = min(0.8, 6 / len(series.names))
        shown = rows.assign(drawn=rows["share"] - step * rows["arm"].map(series.names.index))
        # Thousands as k; below 1 no letter: 40m of a second would be read as minutes.
        label = "format(datum.value, datum.value < 1000 ? '~g' : '~s')"
        axis = alt.Axis(labelExpr=label, tickCount=8)
        x = alt.X("time:Q", title=time_title(self.time()), scale=alt.Scale(nice=False), axis=axis)
        y = alt.Y(
            "drawn:Q",
            title=f"Trials below {100 * self.target:g} %, %",
            scale=alt.Scale(domain=[-step * len(series.names) - 1, 102], nice=False),
            axis=alt.Axis(values=[0, 25, 50, 75, 100]),
        )
        line = (
            alt.Chart(shown)
            .mark_line(interpolate="step-after", strokeWidth=2)
            .encode(
                x=x,
                y=y,
                color=series.color(),
                strokeDash=series.dash(),
                opacity=faded(picked),
            )
        )
        tooltip = [
            alt.Tooltip("arm:N"),
            alt.Tooltip("time:Q", format=".4g"),
            alt.Tooltip("share:Q", title="not there yet, %", format=".3g"),
            alt.Tooltip("at_risk:Q", title="until then"),
        ]
        layers: list[alt.Chart] = [line]
        steps, ends = shown[shown["reached"] > 0], shown[shown["censored"] > 0]
        if len(steps):
            mark = alt.Chart(steps).mark_point(filled=True, size=52)
            layers.append(
                mark.encode(
                    x=x,
                    y=y,
                    color=series.color(),
                    shape=series.shape(),
                    opacity=faded(picked),
                    tooltip=tooltip,
                )
            )
        if len(ends):
            tick = alt.Chart(ends).mark_tick(orient="vertical", size=12, thickness=2)
            layers.append(
                tick.encode(x=x, y=y, color=series.color(), opacity=faded(picked), tooltip=tooltip)
            )
        panel = alt.layer(*layers).properties(width=WIDTH - 260, height=280)
        return below(panel, key(series, picked))


def _successes(data: pd.DataFrame) -> str:
    """How many trials reached it."""
    groups = data.groupby("arm", sort=False)
    reached, trials = groups["reached"].sum(), groups["at_risk"].max()
    some = reached.index[(reached > 0) & (reached < trials)]
    parts = [f"{arm} {reached[arm]} of {trials[arm]}" for arm in some[:_NAMED]]
    if len(some) > _NAMED:
        parts.append(f"some trials of {len(some) - _NAMED} more arms")
    for count, words in ((reached == trials, "all trials"), (reached == 0, "no trial")):
        if count.all():
            return f"It was reached by {words}."
        if count.any():
            parts.append(f"{words} of {count.sum()} {'arm' if count.sum() == 1 else 'arms'}")
    return f"It was reached by {', '.join(parts)}."
