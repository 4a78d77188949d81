"""What takes seconds: a study's report and its figures, as the process that draws makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import UndefinedError

from normlab.figures.curves import OF_SPLITS, Curves
from normlab.figures.drawing import one_figure
from normlab.figures.figure import Source
from normlab.frames.effects import effect_table, robust_table
from normlab.frames.load import Frames, load_frames
from normlab.frames.tables import arm_table
from normlab.live.words import without_paths
from normlab.reports.html import context, environment, figure_shown, static_files, stored
from normlab.store import Store, refuse_links
from normlab.store.plans import as_written


def static() -> dict[str, str]:
    """The report's scripts and style sheets, by name, with the one that draws figures."""
    return static_files()


def body(folder: Path) -> str:
    """The body of a study's report as HTML, from its store alone.

    Raises:
        UserError: The store cannot be read, or holds something that normlab does not write.
    """
    refuse_links(folder)
    with as_written(folder):
        try:
            return _body(folder)
        except UndefinedError as error:
            raise LookupError(error) from error


def _body(folder: Path) -> str:
    read = stored(folder, details=False)
    frames = _without_paths(replace(read.frames, watched=True), folder)
    shown = context(
        frames,
        arm_table(frames),
        effect_table(frames),
        robust_table(frames, folder),
        folder,
        lost=read.lost,
        bare=read.bare,
        whole=read.whole,
        live=True,
    )
    return environment().get_template("parts/body.html").render(shown)


def _without_paths(frames: Frames, folder: Path) -> Frames:
    reasons = frames.trials["reason"].map(
        lambda reason: without_paths(reason, folder) if isinstance(reason, str) else reason
    )
    return replace(frames, trials=frames.trials.assign(reason=reasons))


def compared(folder: Path, arms: Sequence[str], metrics: Sequence[str]) -> list[dict[str, object]]:
    """Curves of some arms of a study, a figure for each metric, as the report's are shown.

    Args:
        folder: The study's.
        arms: Labels; none: those that a report would choose.
        metrics: Of `normlab.live.views.METRICS`.

    Raises:
        UserError: The store cannot be read, or holds something that normlab does not write.
    """
    refuse_links(folder)
    with as_written(folder):
        with Store.read(folder) as store:
            source = Source(load_frames(store, details=False), folder)
        return [
            figure_shown(one_figure(source, _curves(metric, arms), metric.replace("_", "-")))
            for metric in metrics
        ]


def _curves(name: str, arms: Sequence[str]) -> Curves:
    split, _, metric = name.partition("_")
    own = {"metric": metric, "splits": (split,)} if metric in OF_SPLITS else {"metric": name}
    return Curves.model_validate({"kind": "curves", **own, "arms": list(arms) or None})
