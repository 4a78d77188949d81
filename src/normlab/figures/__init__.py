"""The figures of a report: those that the study lists, or the usual ones.

Each kind has a function from frames to a data frame, which the tests hold against numbers by hand,
and one from that to an Altair chart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

from normlab.errors import UserError
from normlab.figures import (
    arms,
    confusion,
    curves,
    effects,
    factors,
    galleries,
    layers,
    survival,
)
from normlab.figures.base import LOOK, Drawn, NotDrawnError
from normlab.frames.load import Frames
from normlab.frames.predictions import unread
from normlab.records.plan import FigureRecord

_FROM_FRAMES: dict[str, Callable[[Frames, Mapping[str, Any]], Drawn]] = {
    "factor": factors.draw,
    "interaction": factors.draw,
    "dots": arms.draw,
    "bars": arms.draw,
    "curves": curves.draw_curves,
    "survival": survival.draw,
    "effects": effects.draw,
    "activations": layers.draw_activations,
    "gates": layers.draw_gates,
    "sparsity": curves.draw_sparsity,
    "gradients": curves.draw_gradients,
    "agc": curves.draw_agc,
}
_FROM_FILES: dict[str, Callable[[Frames, Mapping[str, Any], Path | None], Drawn]] = {
    "confusion": confusion.draw,
    "misclassified": galleries.draw_misclassified,
    "disagreement": galleries.draw_disagreement,
}
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The version the charts are written for."""

GALLERIES = frozenset({"misclassified", "disagreement"})
_WORDS = {
    "factor": "A metric against a factor",
    "interaction": "Interaction of two factors",
    "dots": "Arms side by side",
    "bars": "Arms side by side",
    "curves": "While training",
    "survival": "Time to accuracy",
    "effects": "What the claims rest on",
    "activations": "What the norm layers give",
    "gates": "What the gates learned",
    "sparsity": "Weights near zero",
    "gradients": "Norms of gradient and weights",
    "agc": "Adaptive gradient clipping",
    "confusion": "Which classes are taken for which",
    "misclassified": "Misclassified images",
    "disagreement": "Disputed images",
}
"""The heading of what could not be drawn."""
KINDS = frozenset({*_FROM_FRAMES, *_FROM_FILES})


@dataclass(frozen=True)
class Figure:
    """A figure with its place in the page; `drawn` is None where `caption` says why not.

    Attributes:
        name: Its anchor, and its file's name.
        kind: Of the study file.
        title: Above it.
        caption: Below it.
        drawn: Data and chart.
    """

    name: str
    kind: str
    title: str
    caption: str
    drawn: Drawn | None


def figures_of(frames: Frames, folder: Path | None = None) -> list[Figure]:
    """Every figure of a study's report.

    Args:
        frames: The study.
        folder: Its folder, which has the trials' predictions; without it those figures say so.
    """
    listed = [_flat(record) for record in frames.plan.figures]
    if listed:
        return [_figure(frames, record, folder) for record in _with_effects(frames, listed)]
    usual = [_figure(frames, record, folder) for record in _usual(frames)]
    # Nobody asked for these: what has nothing to show yet is left out.
    return [figure for figure in usual if figure.drawn is not None]


def specification(drawn: Drawn) -> dict[str, Any]:
    """A figure as Vega-Lite, with its data and the report's look."""
    with alt.data_transformers.enable("default", max_rows=None):
        # The tests validate every kind of chart: here it would take as long as drawing them.
        spec: dict[str, Any] = drawn.chart.to_dict(validate=False)
    return {**spec, "config": LOOK}


def _flat(record: FigureRecord) -> dict[str, Any]:
    return {**record.options, **record.model_dump(exclude={"options"})}


def _figure(frames: Frames, record: Mapping[str, Any], folder: Path | None) -> Figure:
    name, kind = record["name"], record["kind"]
    try:
        drawn = _draw(frames, record, folder)
    except (NotDrawnError, UserError) as error:
        title = record["heading"] or _WORDS[kind]
        return Figure(name, kind, title, f"Not drawn: {error}.".replace("..", "."), None)
    said = record["caption"]
    caption = f"{said.rstrip('.')}. {drawn.caption}" if said else drawn.caption
    if kind in _FROM_FILES:
        caption += _left_out(frames, record, folder)
    return Figure(name, kind, drawn.title, caption, drawn)


def _left_out(frames: Frames, record: Mapping[str, Any], folder: Path | None) -> str:
    """A sentence for the caption where files of some trials are gone or damaged."""
    one = [record[side] for side in ("arm", "right", "wrong") if side in record]
    missing = unread(frames, [*record.get("arms", []), *one], folder)
    trials = "1 trial" if missing == 1 else f"{missing} trials"
    return f" Left out: {trials} whose predictions are gone or damaged." if missing else ""


def _draw(frames: Frames, record: Mapping[str, Any], folder: Path | None) -> Drawn:
    if record.get("unresolved"):
        raise NotDrawnError(f"this variant of the study lacks it: {record['unresolved']}")
    if record["kind"] in _FROM_FILES:
        return _FROM_FILES[record["kind"]](frames, record, folder)
    return _FROM_FRAMES[record["kind"]](frames, record)


def _with_effects(frames: Frames, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claims always have their figure: first, unless the study puts it elsewhere."""
    if not frames.plan.claims or any(record["kind"] == "effects" for record in records):
        return records
    taken = {record["name"] for record in records}
    return [_record("effects", "effects" if "effects" not in taken else "claims-effects"), *records]


def _usual(frames: Frames) -> list[dict[str, Any]]:
    """What is drawn where a study lists no figures."""
    analysis = frames.plan.analysis
    metric, labels = analysis.metric, frames.arms
    return [
        *([_record("effects", "effects")] if frames.plan.claims else []),
        _record("dots", "accuracy", arms=labels, metrics=[metric], at=analysis.at, together=False),
        *(
            _record(
                "curves", f"{name}-curves", arms=labels, metric=name, splits=_SPLITS, scale="linear"
            )
            for name in ("accuracy", "loss")
        ),
    ]


_SPLITS = ["train", "validation", "test"]


def _record(kind: str, name: str, **options: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "heading": None, "caption": None, **options}


__all__ = [
    "GALLERIES",
    "KINDS",
    "VEGA_LITE",
    "Drawn",
    "Figure",
    "NotDrawnError",
    "figures_of",
    "specification",
]
