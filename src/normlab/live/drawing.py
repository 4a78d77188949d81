"""What takes seconds: a study's report and its figures, as the process that draws makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# What draws imports it at its first use; here it is out of the time that a drawing takes.
import scipy.stats  # noqa: F401

from normlab.figures.curves import OF_SPLITS, Curves
from normlab.figures.drawing import Shown, figures_of, one_figure
from normlab.figures.figure import Source
from normlab.frames.effects import effect_table, robust_table
from normlab.frames.load import Frames, load_frames
from normlab.frames.tables import arm_table
from normlab.live.words import without_paths
from normlab.recipe import value_text
from normlab.reports.html import bundle, context, environment, figure_shown, read_as_written, stored
from normlab.store import Store
from normlab.text import names_alone


def static() -> dict[str, str]:
    """The script that draws a report's figures in a browser, by its name."""
    return {"vega.js": bundle()}


def body(folder: Path) -> str:
    """The body of a study's report as HTML, from its store alone.

    Raises:
        UserError: The store cannot be read, or holds something that normlab does not write.
    """
    with read_as_written(folder):
        return _body(folder)


def _body(folder: Path) -> str:
    read = stored(folder, details=False)
    frames = _without_paths(replace(read.frames, watched=True), folder)
    shown = context(
        frames,
        arm_table(frames),
        effect_table(frames),
        robust_table(frames, folder),
        [_named(figure, folder) for figure in figures_of(frames, folder)],
        lost=read.lost,
        bare=read.bare,
        whole=read.whole,
    )
    made = environment()
    # Of the recipes too, which a gallery of images needs as they are: they say where its data lie.
    made.filters["value"] = _value
    return made.get_template("parts/body.html").render(shown)


def _without_paths(frames: Frames, folder: Path) -> Frames:
    """A study whose reasons and overrides name files and folders by their last part alone."""
    reasons = frames.trials["reason"].map(
        lambda reason: without_paths(reason, folder) if isinstance(reason, str) else reason
    )
    plan = frames.plan.model_copy(update={"overrides": names_alone(frames.plan.overrides)})
    return replace(frames, plan=plan, trials=frames.trials.assign(reason=reasons))


def _value(value: object) -> str:
    return value_text(names_alone(value))


def _named(figure: Shown, folder: Path) -> Shown:
    """A figure whose caption, which may say why there is none, has no path of the machine."""
    return replace(figure, caption=without_paths(figure.caption, folder))


def compared(folder: Path, arms: Sequence[str], metrics: Sequence[str]) -> list[dict[str, object]]:
    """Curves of some arms of a study, a figure for each metric, as the report's are shown.

    Args:
        folder: The study's.
        arms: Labels; none: those that a report would choose.
        metrics: Of `normlab.live.views.METRICS`.

    Raises:
        UserError: The store cannot be read, or holds something that normlab does not write.
    """
    with read_as_written(folder):
        with Store.read(folder) as store:
            source = Source(load_frames(store, details=False), folder)
        figures = [
            one_figure(source, _curves(metric, arms), metric.replace("_", "-"))
            for metric in metrics
        ]
        return [figure_shown(_named(figure, folder)) for figure in figures]


def _curves(name: str, arms: Sequence[str]) -> Curves:
    split, _, metric = name.partition("_")
    own = {"metric": metric, "splits": (split,)} if metric in OF_SPLITS else {"metric": name}
    return Curves.model_validate({"kind": "curves", **own, "arms": list(arms) or None})
