"""The drawing of a model's scheme: the net from image to class, and each kind of block beside it.

White boxes are always there. Grey ones are slots, which a recipe fills: dashed where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from normlab.figures.figure import Drawn
from normlab.figures.style import GREY, Chart
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd
from normlab.records.scheme import Block, Part, Scheme

_WIDE, _HIGH, _GAP = 230, 26, 16
_BESIDE = 230  # a shortcut's boxes
_BETWEEN = 44
_HEAD = 26
_INK, _SLOT = "#1c2430", "#d4d8de"
_SUM = 9  # radius of the circle of an addition


@dataclass
class _Sheet:
    """What has been put on the sheet, in pixels from its upper left corner."""

    boxes: list[dict[str, object]] = field(default_factory=list)
    lines: list[dict[str, float]] = field(default_factory=list)
    arrows: list[dict[str, float]] = field(default_factory=list)
    texts: list[dict[str, object]] = field(default_factory=list)
    sums: list[dict[str, object]] = field(default_factory=list)

    def box(self, x: float, y: float, text: str, part: Part | None = None) -> float:
        """A box whose top is centred at x; the y of its lower edge."""
        slot, filled = (part.is_slot, part.is_filled) if part else (False, True)
        self.boxes.append({
            "x": x - _WIDE / 2, "x2": x + _WIDE / 2, "y": y, "y2": y + _HIGH,
            "slot": slot, "filled": filled, "text": text,
        })  # fmt: skip
        self.text(x, y + _HIGH / 2, text, color=_INK if filled else GREY)
        return y + _HIGH

    def text(self, x: float, y: float, text: str, *, color: str = _INK, bold: bool = False) -> None:
        """A text centred at a point."""
        self.texts.append({"x": x, "y": y, "text": text, "color": color, "bold": bold})

    def line(self, x: float, y: float, x2: float, y2: float) -> None:
        """A line between two points."""
        self.lines.append({"x": x, "y": y, "x2": x2, "y2": y2})

    def down(self, x: float, y: float, y2: float) -> None:
        """An arrow downwards."""
        self.line(x, y, x, y2)
        self.arrows.append({"x": x, "y": y2 - 4})

    def row(self, x: float, y: float, parts: Sequence[Part]) -> float:
        """Boxes one below the other, each with an arrow to it; the y of the last one's end."""
        for part in parts:
            self.down(x, y, y + _GAP)
            y = self.box(x, y + _GAP, part.label, part)
        return y


def block_drawing(scheme: Scheme, title: str) -> Drawn:
    """A model's blocks with their slots, and how many of which kind follow one another.

    Args:
        scheme: The model's.
        title: Above the drawing.
    """
    sheet = _Sheet()
    _net(sheet, scheme)
    x = float(_WIDE + _BETWEEN)
    for block in scheme.blocks:
        x += _block(sheet, block, x) + _BETWEEN
    width = max(x - _BETWEEN, 4 * (_WIDE + _GAP))
    bottom = max(float(str(box["y2"])) for box in sheet.boxes) + 2 * _GAP + _HEAD
    _legend(sheet, bottom)
    caption = (
        "C is the number of channels that a block makes. White boxes are always there; grey ones "
        "are slots, which a recipe fills or leaves empty (dashed)."
    )
    data = pd.DataFrame(sheet.boxes)
    return Drawn(title, caption, data, _chart(sheet, title, width + 4, bottom + _HIGH + 4))


def _net(sheet: _Sheet, scheme: Scheme) -> None:
    """The whole model at the left, from image to class."""
    x, y = _WIDE / 2 + 2, float(_HEAD)
    channels, height, width = scheme.shape
    sheet.text(x, _HEAD / 2 - 4, "the net", bold=True)
    sheet.text(x, y + 4, f"image: {_channels(channels)}, {height}x{width}", color=GREY)
    y += _GAP
    for run in scheme.runs:
        sheet.down(x, y, y + _GAP)
        times = f"{run.count} x " if run.count > 1 else ""
        y = sheet.box(x, y + _GAP, f"{times}{run.what}")
        side = f", {run.map_size}x{run.map_size}" if height == width else ""
        ends = run is scheme.runs[-1]
        made = f"{scheme.num_classes} classes" if ends else _channels(run.channels) + side
        sheet.text(x, y + 9, made, color=GREY)
        y += _GAP


def _block(sheet: _Sheet, block: Block, left: float) -> float:
    """One kind of block with its upper left corner at (left, 0); how wide it is."""
    x, y = left + _WIDE / 2, float(_HEAD)
    sheet.text(x, _HEAD / 2 - 4, block.name, bold=True)
    start = y
    y = sheet.row(x, y, block.enter)
    fork = (y if block.projects else start) + 5
    end = sheet.row(x, y + (5 if block.shortcut is not None else 0), block.branch)
    if block.shortcut is None:
        sheet.down(x, end, end + _GAP)
        return _WIDE
    sheet.line(x, y, x, y + 5)
    wide = bool(block.shortcut)
    aside = left + _WIDE + _BETWEEN / 2 + (_BESIDE / 2 if wide else 0)
    centre = end + _GAP + _SUM
    sheet.down(x, end, centre - _SUM)
    sheet.line(x, fork, aside, fork)
    y = fork
    if wide:
        boxes = len(block.shortcut) * (_HIGH + _GAP)
        middle = (fork + centre - boxes) / 2
        sheet.line(aside, fork, aside, middle)
        y = sheet.row(aside, middle, block.shortcut)
    sheet.line(aside, y, aside, centre)
    sheet.line(aside, centre, x + _SUM, centre)
    sheet.sums.append({"x": x, "y": centre, "text": "+"})
    end = sheet.row(x, centre + _SUM, block.leave)
    sheet.down(x, end, end + _GAP)
    return aside - left + (_BESIDE / 2 if wide else 0)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _legend(sheet: _Sheet, y: float) -> None:
    kinds = (
        ("always there", None),
        ("slot, filled", Part("norm", "", is_slot=True)),
        ("slot, empty", Part("norm", "", is_slot=True, is_filled=False)),
    )
    for number, (text, part) in enumerate(kinds):
        sheet.box(_WIDE / 2 + 2 + number * (_WIDE + _GAP), y, text, part)
    channels = "C: channels that the block makes"
    sheet.text(_WIDE / 2 + 3 * (_WIDE + _GAP), y + _HIGH / 2, channels, color=GREY)


def _chart(sheet: _Sheet, title: str, width: float, height: float) -> Chart:
    across = alt.Scale(domain=[0, width], nice=False, zero=False)
    down = alt.Scale(domain=[height, 0], nice=False, zero=False)
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    lines, arrows = pd.DataFrame(sheet.lines), pd.DataFrame(sheet.arrows)
    layers = [
        alt.Chart(lines).mark_rule(color=_INK).encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        alt.Chart(arrows)
        .mark_point(shape="triangle-down", filled=True, size=42, color=_INK, opacity=1)
        .encode(x=x, y=y),
    ]
    boxes = pd.DataFrame(sheet.boxes)
    for slot, filled in ((False, True), (True, True), (True, False)):
        mark = alt.Chart(boxes[(boxes["slot"] == slot) & (boxes["filled"] == filled)]).mark_rect(
            fill=_SLOT if slot else "white",
            fillOpacity=1 if filled else 0.4,
            stroke=_INK if filled else GREY,
            strokeDash=[1, 0] if filled else [4, 3],
            strokeWidth=1,
            cornerRadius=3,
            opacity=1,
        )
        layers.append(mark.encode(x=x, y=y, x2="x2:Q", y2="y2:Q"))
    if sheet.sums:
        sums = alt.Chart(pd.DataFrame(sheet.sums)).encode(x=x, y=y)
        size = 4 * _SUM**2
        circle = sums.mark_point(
            shape="circle", size=size, fill="white", stroke=_INK, opacity=1, strokeWidth=1
        )
        layers += [circle, sums.mark_text(fontSize=15, color=_INK).encode(text="text:N")]
    texts = pd.DataFrame(sheet.texts)
    color = alt.Color("color:N", scale=None)
    for bold in (False, True):
        some = alt.Chart(texts[texts["bold"] == bold])
        mark = some.mark_text(fontSize=13 if bold else 12, fontWeight="bold" if bold else "normal")
        layers.append(mark.encode(x=x, y=y, text="text:N", color=color))
    heading = alt.TitleParams(title, anchor="start", fontSize=14, offset=10)
    made: Chart = alt.layer(*layers).properties(width=width, height=height, title=heading)
    return made
