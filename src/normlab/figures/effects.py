"""`effects`: the claims' estimates with intervals, zero and margins: what the verdicts rest on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from normlab.figures.figure import OfClaims, Source, noted
from normlab.figures.measures import printed_values, source_epochs
from normlab.figures.style import WIDTH, Chart, below, fitted, named_axis, names_width, row_step
from normlab.frames.load import Frames
from normlab.frames.verdicts import claim_table
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.records.plan import ClaimRecord
from normlab.stats.claims import CLAIMS

VERDICTS = {
    "supported": ("#009E73", "circle"),
    "refuted": ("#D55E00", "square"),
    "inconclusive": ("#555555", "triangle-up"),
}
"""Verdict -> color and shape."""
_BETWEEN_LOOKS = {"in progress": ("#0072B2", "cross")}


class Effects(OfClaims):
    """What the claims are about: estimates, intervals, zero and the margin."""

    title: ClassVar[str] = "figure 'effects'"
    usual: ClassVar[str] = "What the claims rest on"
    kind: Literal["effects"]

    def rows(self, source: Source) -> pd.DataFrame:
        """A row per claim that has an estimate.

        Returns:
            `claim`, `kind`, `verdict`, `unit` (of the axis), `estimate`, `low`, `high`, `margin`
            and the `published` difference where the source has a number for each of two arms;
            accuracies in points.
        """
        frames = source.frames
        table = self.estimated(claim_table(frames))
        claims = {claim.name: claim for claim in frames.plan.judged}
        rows = [_row(frames, row, claims[row["claim"]]) for row in table.to_dict("records")]
        made = pd.DataFrame(rows).astype({"published": float})
        shown = [claims[name] for name in made.loc[made["published"].notna(), "claim"]]
        epochs = dict.fromkeys(source_epochs(frames, [c.metric or ""], c.at) for c in shown)
        return noted(made, source_epochs="".join(epochs))

    def reading(self, rows: pd.DataFrame) -> str:
        """Bars, band, and what has no end."""
        text = (
            "The difference that each claim is about, its first side minus its second; of what "
            "should be small, as a loss, less is better. The bar is its interval, at the level the "
            "claim is tested at; the grey band is the margin, below which a difference does not "
            "matter. A claim 'equal' needs its interval inside the band; 'better' needs it on the "
            "better side of the line, 'not_better' short of the band's better end."
        )
        if np.isinf(rows[["low", "high"]]).any(axis=None):
            text += " A bar from edge to edge has no end: so few trials cannot bound it."
        if rows["published"].notna().any():
            epochs = rows.attrs.get("source_epochs", "")
            text += " An open diamond is the difference of the numbers that the source printed"
            text += f"{epochs}."
        return text

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per unit, a row per claim."""
        claims = rows["claim"].tolist()
        width = WIDTH - names_width(claims) - 30
        units = list(dict.fromkeys(rows["unit"]))
        panels = [_panel(rows[rows["unit"] == unit], unit, width, claims) for unit in units]
        return panels[0] if len(panels) == 1 else below(*panels)


def by_verdict(shown: Iterable[str] = ()) -> tuple[alt.Color, alt.Shape]:
    """A verdict's color and shape, with one legend.

    Where some claims are between looks, it has the words that are shown and no others.
    """
    styles = VERDICTS | _BETWEEN_LOOKS
    between = not VERDICTS.keys() >= set(shown)
    styles = {
        word: styles[word] for word in styles if word in (set(shown) if between else VERDICTS)
    }
    words = list(styles)
    colors, shapes = ([styles[word][at] for word in words] for at in (0, 1))
    legend = alt.Legend(title=None, orient="bottom")
    return (
        alt.Color("verdict:N", scale=alt.Scale(domain=words, range=colors), legend=legend),
        alt.Shape("verdict:N", scale=alt.Scale(domain=words, range=shapes), legend=legend),
    )


def _row(frames: Frames, row: Mapping[Hashable, Any], claim: ClaimRecord) -> dict[str, object]:
    kind = CLAIMS[claim.kind]
    scale = kind.unit(claim).scale
    return {
        "claim": row["claim"],
        "kind": row["kind"],
        "verdict": row["verdict"],
        "unit": kind.axis(claim),
        **{name: scale * row[name] for name in ("estimate", "low", "high", "margin")},
        "published": _published(frames, claim),
    }


def _published(frames: Frames, claim: ClaimRecord) -> float | None:
    """The printed difference of the two sides, where both arms have a number."""
    sides = claim.sides
    if len(sides) != 2 or any(len(side) != 1 for side in sides) or claim.metric is None:
        return None
    rows = printed_values(frames, claim.metric, claim.at)
    printed = {**{arm: np.mean(values) for arm, values in rows.items()}, **claim.published}
    first, second = (printed.get(side[0]) for side in sides)
    if not isinstance(first, int | float) or not isinstance(second, int | float):
        return None
    return float(first - second)


def _panel(data: pd.DataFrame, unit: str, width: int, every: Sequence[str]) -> Chart:
    claims = data["claim"].tolist()
    step = row_step(claims, 30)
    ends = data.melt(value_vars=["estimate", "low", "high", "margin", "published"])["value"]
    scale = alt.Scale(domain=fitted([0.0, *ends, *(-data["margin"])]), nice=False, zero=False)
    axis = named_axis(claims, minExtent=names_width(every), grid=False)
    y = alt.Y("claim:N", sort=claims, title=None, axis=axis)
    x = alt.X("estimate:Q", title=unit, scale=scale, axis=alt.Axis(tickCount=8))
    color, shape = by_verdict(data["verdict"])
    tooltip = [
        alt.Tooltip("claim:N"),
        alt.Tooltip("verdict:N"),
        alt.Tooltip("estimate:Q", format="+.3g"),
        alt.Tooltip("low:Q", format="+.3g"),
        alt.Tooltip("high:Q", format="+.3g"),
        alt.Tooltip("margin:Q", format=".3g"),
    ]
    margins = alt.Chart(data.assign(less=-data["margin"]))
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]}))
    layers: list[alt.Chart] = [
        margins.mark_bar(color="#e3e7ee", size=0.7 * step).encode(
            y=y, x=alt.X("less:Q", scale=scale, title=unit), x2="margin:Q"
        ),
        zero.mark_rule(color="#1c2430", strokeWidth=1).encode(
            x=alt.X("zero:Q", scale=scale, title=unit)
        ),
    ]
    known = data.dropna(subset=["low", "high"])
    if len(known):
        low, high = scale["domain"]  # limits may be infinite: too few seeds for any
        layers.append(
            alt.Chart(known.assign(low=known["low"].clip(low), high=known["high"].clip(upper=high)))
            .mark_rule(strokeWidth=2.5)
            .encode(y=y, x=alt.X("low:Q", scale=scale, title=unit), x2="high:Q", color=color)
        )
    mark = alt.Chart(data).mark_point(filled=True, size=100, opacity=1)
    layers.append(mark.encode(y=y, x=x, color=color, shape=shape, tooltip=tooltip))
    printed = data.dropna(subset=["published"])
    if len(printed):
        diamond = alt.Chart(printed).mark_point(
            shape="diamond", size=110, stroke="#000000", strokeWidth=1.6
        )
        layers.append(diamond.encode(y=y, x=alt.X("published:Q", scale=scale, title=unit)))
    return alt.layer(*layers).properties(width=width, height=alt.Step(step))
