"""`specification_curve`: each claim under the study's alternative analyses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from normlab.errors import UserError
from normlab.figures.effects import by_verdict
from normlab.figures.figure import Context, OfClaims, Source
from normlab.figures.style import WIDTH, Chart, fitted, named_axis, names_width, row_step
from normlab.frames.robustness import robustness
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd


class SpecificationCurve(OfClaims):
    """Each claim's estimate under every alternative analysis that the study declares."""

    title: ClassVar[str] = "figure 'specification_curve'"
    usual: ClassVar[str] = "The claims under alternative analyses"
    kind: Literal["specification_curve"]

    def resolved(self, context: Context) -> Self:
        """Unchanged: its claims and the study's alternatives must be there."""
        if context.claims and not context.analysis.alternatives:
            raise UserError(
                "the study declares no alternative analyses: list some under "
                "analysis.alternatives, for example {at: best_validation}"
            )
        return super().resolved(context)

    def rows(self, source: Source) -> pd.DataFrame:
        """A row per claim and analysis; see `normlab.frames.robustness.robustness`."""
        return self.estimated(robustness(source.frames))

    def reading(self, rows: pd.DataFrame) -> str:
        """What a row is, and what the number of rows is not."""
        return (
            "One claim a panel, one analysis a row: the estimate in margins of the claim, in the "
            "claim's direction, with the interval that its verdict rests on; the grey band is the "
            "margin. The analyses share their trials: how many of them agree is no probability."
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per claim, a row per analysis in the study's order."""
        names = list(dict.fromkeys(rows["analysis"]))
        ends = rows.melt(value_vars=["estimate", "low", "high"])["value"]
        low, high = fitted([-1.0, 1.0, *ends])
        scale = alt.Scale(domain=[low, high], nice=False, zero=False)
        axis = named_axis(names, minExtent=names_width(names), grid=False)
        shown = rows.assign(
            low=rows["low"].clip(low, high),
            high=rows["high"].clip(low, high),
            less=-1.0,
            more=1.0,
            zero=0.0,
        )
        y = alt.Y("analysis:N", sort=names, title=None, axis=axis)
        x = alt.X("estimate:Q", title="Estimate, margins", scale=scale, axis=alt.Axis(tickCount=8))
        color, shape = by_verdict()
        step = row_step(names, 22)
        base = alt.Chart().encode(y=y)
        band = base.mark_bar(color="#e3e7ee", size=step).encode(
            x=alt.X("less:Q", scale=scale, title="Estimate, margins"), x2="more:Q"
        )
        zero = base.mark_tick(color="#1c2430", size=step).encode(x=alt.X("zero:Q", scale=scale))
        bars = base.mark_rule(strokeWidth=2.5).encode(
            x=alt.X("low:Q", scale=scale), x2="high:Q", color=color
        )
        points = base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, color=color, shape=shape
        )
        width = WIDTH - names_width(names) - 30
        panel = alt.layer(band, zero, bars, points, data=shown).properties(
            width=width, height=alt.Step(step)
        )
        header = alt.Header(
            title=None, labelOrient="top", labelAngle=0, labelAnchor="start", labelFontWeight="bold"
        )
        return panel.facet(
            row=alt.Row("claim:N", sort=list(dict.fromkeys(rows["claim"])), header=header)
        )
