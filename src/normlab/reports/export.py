"""Files to take along: figures as SVG and PDF, galleries as PNG too, tables to typeset, trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import vl_convert

from normlab.errors import UserError, for_user
from normlab.figures.drawing import VEGA_LITE, Shown, figures_of, specification
from normlab.figures.figure import Drawn
from normlab.files import write_whole
from normlab.frames.epoch_rows import epoch_rows
from normlab.frames.load import load_frames
from normlab.frames.published import published_table
from normlab.reports.published import beside_text
from normlab.reports.typeset import arms_typeset, verdicts_typeset
from normlab.store import Store
from normlab.store.plans import as_written

Spec: TypeAlias = dict[str, Any]
"""A figure as Vega-Lite."""

_DOTS = 2  # pixels of a PNG for each of the figure's


class Exports(NamedTuple):
    """What was written, and the figures that could not be drawn by name, each with the reason."""

    written: list[Path]
    not_drawn: dict[str, str]


def write_exports(
    folder: Path,
    *,
    figures: Path | None = None,
    latex: Path | None = None,
    csv: Path | None = None,
) -> Exports:
    """Write a study's figures and tables as files of their own, from its store.

    Args:
        folder: The study's.
        figures: Where the figures go: ``<name>.svg`` and ``<name>.pdf``, of galleries also
            ``<name>.png``; no browser is needed for it.
        latex: Where the tables go: ``arms``, where there are claims ``verdicts``, and where the
            source printed numbers ``published``, each as ``.tex`` and ``.md``.
        csv: The file for every epoch of every finished trial; `frames_from_csv` reads it.

    Raises:
        UserError: The folder holds no runs, or a file cannot be written.
    """
    if figures is None and latex is None and csv is None:
        return Exports([], {})
    with as_written(folder):
        made, not_drawn = _made(folder, figures, latex, csv)
    return Exports(write_each(made), not_drawn)


def write_each(files: Mapping[Path, bytes]) -> list[Path]:
    """Write files, each whole; their paths.

    Raises:
        UserError: One cannot be written.
    """
    for path, content in files.items():
        try:
            write_whole(path, content)
        except OSError as error:
            raise for_user(error, f"{path} cannot be written: {error.strerror}") from None
    return list(files)


def _made(
    folder: Path, figures: Path | None, latex: Path | None, csv: Path | None
) -> tuple[dict[Path, bytes], dict[str, str]]:
    """The files by path, and the figures that could not be drawn with the reason."""
    with Store.read(folder) as store:
        frames = load_frames(store)
    made: dict[Path, bytes] = {}
    not_drawn: dict[str, str] = {}
    if figures is not None:
        for figure in figures_of(frames, folder):
            if figure.drawn is None:
                not_drawn[figure.name] = figure.caption
            made |= {figures / name: content for name, content in figure_files(figure).items()}
    if latex is not None:
        tables = {"arms": arms_typeset(frames)}
        if frames.plan.claims:
            tables["verdicts"] = verdicts_typeset(frames)
        if frames.plan.published:
            beside = published_table(frames.plan, frames)
            tables["published"] = beside_text(beside, rehearsal=frames.plan.rehearsal).typeset()
        for name, table in tables.items():
            made[latex / f"{name}.tex"] = table.latex().encode()
            made[latex / f"{name}.md"] = table.markdown().encode()
    if csv is not None:
        made[csv] = epoch_rows(frames).encode()
    return made, not_drawn


def figure_files(figure: Shown) -> dict[str, bytes]:
    """A figure's files by name: SVG, PDF, of galleries PNG; one that is not drawn has none."""
    if figure.drawn is None:
        return {}
    endings = ("svg", "pdf", *(["png"] if figure.is_gallery else []))
    spec = specification(figure.drawn)
    return {f"{figure.name}.{ending}": _CONVERT[ending](spec) for ending in endings}


def write_figure(drawn: Drawn, path: Path) -> Path:
    """Write one figure as its file's ending says.

    Raises:
        UserError: Another ending than .svg, .pdf or .png, or the file cannot be written.
    """
    ending = path.suffix.removeprefix(".").lower()
    if ending not in _CONVERT:
        known = ", ".join(f".{each}" for each in _CONVERT)
        raise UserError(f"{path}: a figure's file ends in one of {known}")
    write_each({path: _CONVERT[ending](specification(drawn))})
    return path


def _svg(spec: Spec) -> bytes:
    return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode()


def _pdf(spec: Spec) -> bytes:
    return vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE)


def _png(spec: Spec) -> bytes:
    return vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=_DOTS)


_CONVERT: dict[str, Callable[[Spec], bytes]] = {"svg": _svg, "pdf": _pdf, "png": _png}
"""Ending of a file -> what makes it of a figure's Vega-Lite; no browser is needed."""
