"""How all figures look: how series are told apart, and how charts are laid out.

A series (an arm, a factor's level) has a color, a dash and a shape by its place among all of them,
the same in every figure. The three repeat after 8, 5 and 7 places: 280 series differ, and the first
seven by shape alone, so that they are told apart in grey too.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

Chart: TypeAlias = (
    "alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart | alt.ConcatChart"
)

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe & Ito 2008: told apart under every common color blindness."""

DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [14, 4])

_CROSS = "M-1,-0.35H-0.35V-1H0.35V-0.35H1V0.35H0.35V1H-0.35V0.35H-1Z"
SHAPES = ("circle", "square", "triangle-up", "diamond", _CROSS, "triangle-down", "triangle-right")

WIDTH = 900
"""Pixels that a figure may take on the page."""

GREY = "#555555"

_AXIS = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
LOOK: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "background": "white",
    "padding": 6,
    "view": {"stroke": None},
    "axis": {**_AXIS, "grid": True, "gridColor": "#eceff3", "domainColor": "#9aa5b3"},
    "header": {"labelFontSize": 13, "labelFontWeight": "bold"},
    "title": {"fontSize": 13, "anchor": "middle"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "symbolStrokeWidth": 2, "labelLimit": 0},
}
"""Vega-Lite's configuration of every figure: fonts, greys and grid."""

_CHARACTER = 6.8  # pixels of a character of 12 pixels, on average
_LINE = 15  # pixels of a line of text


@dataclass(frozen=True)
class Series:
    """The series of a figure, told apart by color, dash and shape.

    Attributes:
        column: The column of the data that names them.
        names: Those of the figure, in order.
        every: Those of the whole report, if `names` are only some.
    """

    column: str
    names: Sequence[str]
    every: Sequence[str] = ()
    _places: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Give every name its place."""
        places = {name: place for place, name in enumerate(self.every or self.names)}
        object.__setattr__(self, "_places", places)

    def color(self) -> alt.Color:
        """Colors, without a legend: see `key`."""
        return alt.Color(f"{self.column}:N", scale=self._scale(COLORS), legend=None)

    def dash(self) -> alt.StrokeDash:
        """Line patterns."""
        return alt.StrokeDash(f"{self.column}:N", scale=self._scale(DASHES), legend=None)

    def shape(self) -> alt.Shape:
        """Shapes of points."""
        return alt.Shape(f"{self.column}:N", scale=self._scale(SHAPES), legend=None)

    def _scale(self, among: Sequence[Any]) -> alt.Scale:
        chosen = [among[self._places[name] % len(among)] for name in self.names]
        return alt.Scale(domain=list(self.names), range=chosen)


def key(series: Series, picked: alt.Parameter, *, title: str | None = None) -> Chart:
    """The legend, as wide as the page: a line with its mark per series; a click picks one out."""
    texts = {name: wrapped(name, 100) for name in series.names}
    longest = max(len(line) for text in texts.values() for line in text.split("\n"))
    columns = max(1, min(len(texts), int(WIDTH // (64 + _CHARACTER * longest))))
    step = 64 + _CHARACTER * longest
    rows, y = [], 0.0
    for start in range(0, len(texts), columns):
        here = list(texts.items())[start : start + columns]
        height = _LINE * max(text.count("\n") + 1 for _, text in here) + 5
        for column, (name, text) in enumerate(here):
            x = column * step
            place = {"x": x, "end": x + 44, "middle": x + 22, "text_x": x + 52}
            rows.append({series.column: name, "text": text, "y": y + height / 2, **place})
        y += height
    width = int(step * columns)
    across = alt.Scale(domain=[0, width], nice=False, zero=False)
    down = alt.Scale(domain=[y, 0], nice=False, zero=False)
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("y:Q", scale=down, axis=None),
        color=series.color(),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.3)),
    )
    line = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("x:Q", scale=across, axis=None), x2="end:Q", strokeDash=series.dash()
    )
    mark = base.mark_point(filled=True, size=60).encode(
        x=alt.X("middle:Q", scale=across, axis=None), shape=series.shape()
    )
    text = base.mark_text(
        align="left", baseline="middle", fontSize=12, lineBreak="\n", color="#1c2430"
    ).encode(
        x=alt.X("text_x:Q", scale=across, axis=None),
        text="text:N",
        color=alt.value("#1c2430"),
    )
    layers = alt.layer(line, mark, text.add_params(picked))
    heading = alt.TitleParams(title, anchor="start", fontSize=12, offset=4) if title else None
    properties = {"title": heading} if heading else {}
    return layers.properties(width=width, height=int(y), **properties)


def picking(series: Series) -> alt.Parameter:
    """The selection that the key's clicks change."""
    return alt.selection_point(fields=[series.column], name=f"picked_{series.column}")


def faded(picked: alt.Parameter | None, opacity: float = 1.0) -> Any:
    """The opacity of what is picked, next to nothing of the rest."""
    if picked is None:
        return alt.value(opacity)
    return alt.condition(picked, alt.value(opacity), alt.value(0.08 * opacity))


def in_rows(panels: Sequence[Chart], columns: int) -> Chart:
    """Panels side by side, so many in a row; each has scales of its own."""
    if len(panels) == 1:
        return panels[0]
    made: Chart = alt.concat(*panels, columns=columns, spacing=18)
    return made


def below(*parts: Chart) -> Chart:
    """Charts one below the other, at the left."""
    made: Chart = alt.vconcat(*parts, spacing=14)
    return made


def wrapped(text: str, most: int) -> str:
    """A text on several lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, most, break_on_hyphens=False) or [""])


def named_axis(names: Sequence[str], most: int = 46, **options: Any) -> alt.Axis:
    """A vertical axis of names, wrapped instead of cut off."""
    texts = {name: wrapped(name, most).split("\n") for name in names}
    # A list is drawn as lines; the expression's own strings are JSON's.
    expression = f"{json.dumps(texts)}[datum.value]"
    # Vega lets further lines hang below the row's middle: each label moves up by half of them.
    further = {name: len(lines) - 1 for name, lines in texts.items() if len(lines) > 1}
    if further:
        shifts = {name: -_LINE * lines / 2 for name, lines in further.items()}
        options["labelOffset"] = {
            "condition": [
                {
                    "test": f"indexof({json.dumps([n for n in shifts if shifts[n] == shift])}, "
                    "datum.value) >= 0",
                    "value": shift,
                }
                for shift in sorted(set(shifts.values()))
            ],
            "value": 0,
        }
    return alt.Axis(labelExpr=expression, labelLimit=0, labelPadding=8, ticks=False, **options)


def names_width(names: Sequence[str], most: int = 46) -> int:
    """Pixels that the labels of `named_axis` take."""
    lines = [line for name in names for line in wrapped(name, most).split("\n")]
    return math.ceil(_CHARACTER * max(map(len, lines), default=0)) + 12


def row_step(names: Sequence[str], least: int, most: int = 46) -> int:
    """Pixels of a row that holds the labels of `named_axis`."""
    lines = max((wrapped(name, most).count("\n") + 1 for name in names), default=1)
    return max(least, _LINE * lines + 8)


def fitted(values: Sequence[float], share: float = 0.04) -> list[float]:
    """An axis' domain around values, with some room at both ends."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    room = share * (high - low) or max(abs(high), 1.0) * share
    return [low - room, high + room]
