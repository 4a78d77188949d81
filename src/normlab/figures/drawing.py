"""The figures of a report: those that the study lists, or the usual ones, and their Vega-Lite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import altair as alt

from normlab.errors import UserError
from normlab.figures import FIGURES
from normlab.figures.curves import Curves
from normlab.figures.dots import Dots
from normlab.figures.effects import Effects
from normlab.figures.figure import Drawn, Figure, NotDrawnError, Source
from normlab.figures.style import LOOK
from normlab.frames.load import Frames
from normlab.frames.predictions import unread
from normlab.frames.shares import arms_with_shares
from normlab.records.plan import FigureRecord
from normlab.wording import SHARE

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The version the charts are written for."""


@dataclass(frozen=True)
class Shown:
    """A figure with its place in the page; `drawn` is None where `caption` says why not.

    Attributes:
        name: Its anchor, and its file's name.
        title: Above it.
        caption: Below it.
        drawn: Data and chart.
        is_gallery: Whether it shows images.
        source: What it is in the study's source.
    """

    name: str
    title: str
    caption: str
    drawn: Drawn | None
    is_gallery: bool = False
    source: str | None = None


def figures_of(frames: Frames, folder: Path | None = None) -> list[Shown]:
    """Every figure of a study's report.

    Args:
        frames: The study.
        folder: Its folder, which has the trials' predictions; without it those figures say so.
    """
    source, listed = Source(frames, folder), frames.plan.figures
    if listed:
        return [_listed(source, record) for record in _with_effects(frames, listed)]
    shown = [one_figure(source, figure) for figure in _usual(frames)]
    # Nobody asked for these: what has nothing to show yet is left out.
    return [figure for figure in shown if figure.drawn is not None]


def specification(drawn: Drawn) -> dict[str, Any]:
    """A figure as Vega-Lite, with its data and the report's look."""
    with alt.data_transformers.enable("default", max_rows=None):
        # The tests validate every kind of chart: here it would take as long as drawing them.
        spec: dict[str, Any] = drawn.chart.to_dict(validate=False)
    return {**spec, "config": LOOK}


def _listed(source: Source, record: FigureRecord) -> Shown:
    kind = FIGURES[record.kind]
    if record.unresolved:
        why = f"this variant of the study lacks it: {record.unresolved}"
        return replace(_not_drawn(kind, record.name, record.heading, why), source=record.source)
    return one_figure(source, kind.of(record), record.name)


def one_figure(source: Source, figure: Figure, name: str | None = None) -> Shown:
    """A figure that is resolved, with its place in the page: its own name, or that given."""
    name = name or figure.name or figure.kind
    try:
        drawn = figure.draw(source)
    except (NotDrawnError, UserError) as error:
        shown = _not_drawn(type(figure), name, figure.heading, str(error))
        return replace(shown, source=figure.source)
    caption = drawn.caption + _left_out(source, figure.predicted(source))
    if _shows_seconds(figure) and arms_with_shares(source.frames):
        caption += f" Of trials that trained together with others, seconds are each one's {SHARE}."
    return Shown(name, drawn.title, caption, drawn, figure.is_gallery, figure.source)


def _shows_seconds(figure: Figure) -> bool:
    """Whether seconds are on an axis: as a metric, or as the clock of a time."""
    return "seconds" in _texts(figure.model_dump())


def _texts(values: object) -> Iterator[str]:
    """Every text anywhere in plain data, keys left out."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from _texts(list(values.values()))
    elif isinstance(values, Sequence):
        for value in values:
            yield from _texts(value)


def _not_drawn(kind: type[Figure], name: str, heading: str | None, why: str) -> Shown:
    caption = f"Not drawn: {why}.".replace("..", ".")
    return Shown(name, heading or kind.usual, caption, None, kind.is_gallery)


def _left_out(source: Source, arms: Sequence[str]) -> str:
    """A sentence for the caption where files of some trials are missing or damaged."""
    missing = unread(source.frames, arms, source.folder) if arms else 0
    trials = "1 trial" if missing == 1 else f"{missing} trials"
    return f" Left out: {trials} whose predictions are missing or damaged." if missing else ""


def _with_effects(frames: Frames, records: Sequence[FigureRecord]) -> Sequence[FigureRecord]:
    """Claims always have their figure: first, unless the study puts it elsewhere."""
    if not frames.plan.claims or any(record.kind == "effects" for record in records):
        return records
    taken = {record.name for record in records}
    name = "effects" if "effects" not in taken else "claims-effects"
    return [Effects(kind="effects").record(name), *records]


def _usual(frames: Frames) -> list[Figure]:
    """What is drawn where a study lists no figures."""
    analysis = frames.plan.analysis
    claims = [Effects(kind="effects", name="effects")] if frames.plan.claims else []
    dots = Dots(kind="dots", name="accuracy", metrics=(analysis.metric,), at=analysis.at)
    accuracy = Curves(kind="curves", name="accuracy-curves")
    loss = Curves(kind="curves", name="loss-curves", metric="loss")
    return [*claims, dots, accuracy, loss]
