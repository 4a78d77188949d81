"""The commands about what there is: list and show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.options import Json, Sets, parse_sets
from normlab.errors import UserError, unknown
from normlab.text import shown


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[studies|norms|regularizers|augmentations|models|data]", help="What to list."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the studies, norms, regularizers, augmentations, models and data sets there are."""
    from normlab.recipe import AUGMENTATIONS, DATA, MODELS, NORMS, REGULARIZERS
    from normlab.study.spec import Study
    from normlab.terminal import console, table

    catalogs = {
        "studies": lambda: {name: Study.load(name).question for name in _bundled()},
        "norms": lambda: {kind: spec.describe() for kind, spec in NORMS.items()},
        "regularizers": lambda: REGULARIZERS,
        "augmentations": lambda: {kind: spec.describe() for kind, spec in AUGMENTATIONS.items()},
        "models": lambda: {kind: spec.describe() for kind, spec in MODELS.items()},
        "data": lambda: {kind: spec.describe() for kind, spec in DATA.items()},
    }
    if what is not None and what not in catalogs:
        raise UserError(unknown("list", what, catalogs))
    shown = {name: catalogs[name]() for name in ([what] if what else catalogs)}
    if json:
        from normlab.cli.outputs.catalogs import Catalogs
        from normlab.cli.outputs.output import print_output

        print_output(Catalogs, **shown)
        return
    for name, entries in shown.items():
        console.print(table([name, ""], entries.items(), left=[""]))
        console.print()


def show_model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|IMPORT_PATH", help="See `normlab list models`; or package.module:Net."
        ),
    ],
    sets: Sets = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw its blocks with their slots: .svg, .pdf or .png."),
    ] = None,
    json: Json = False,
) -> None:
    """Show a model's layers: kernel, padding, stride, map, receptive field, parameters."""
    from normlab.api import draw_model
    from normlab.models import build, layer_count, layer_table, parameter_count
    from normlab.study.shown_model import shown_model
    from normlab.terminal import console, table

    overrides = parse_sets(sets)
    made = shown_model(name, overrides)
    built = build(made.recipe, made.facts.shape, made.facts.num_classes, device="meta")
    rows = layer_table(built.model, made.facts.shape)
    total, notes = parameter_count(built.model), list(built.notes)
    if figure is not None:
        draw_model(name, figure, overrides=overrides)
    if json:
        from normlab.cli.outputs.catalogs import ModelShown
        from normlab.cli.outputs.output import print_output

        print_output(ModelShown, layers=rows, parameters=total, notes=notes)
        return
    console.print(
        f"{made.words}: {layer_count(rows)} layers with weights from image to class", soft_wrap=True
    )
    columns = ["layer", "type", "kernel", "padding", "stride", "map", "receptive field"]
    columns += ["formula", "parameters"]
    body = [
        (
            row.name,
            row.kind,
            row.kernel,
            row.padding,
            row.stride,
            row.map_size,
            row.receptive_field,
            row.formula,
            f"{row.parameters:,}",
        )
        for row in rows
    ]
    console.print(table(columns, [*body, ("total", *[None] * 7, f"{total:,}")], left=["type"]))
    for note in notes:
        console.print(f"note: {note}")
    if figure is not None:
        console.print(f"blocks: {figure}", soft_wrap=True)


def show_study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="See `normlab list studies`.")],
    json: Json = False,
) -> None:
    """Show a study's file as it is, to read or to copy: `show study NAME > mine.yaml`."""
    import sys

    from normlab.study.files import content_of, find, read_text

    text = read_text(name)
    if json:
        from normlab.cli.outputs.catalogs import StudyShown
        from normlab.cli.outputs.output import print_output

        print_output(StudyShown, name=name, text=text, study=content_of(text, find(name)))
        return
    # A copy is exact; a terminal is spared what it would obey.
    sys.stdout.write(shown(text, lines=True) if sys.stdout.isatty() else text)


def _bundled() -> list[str]:
    from normlab.study.files import bundled

    return list(bundled())
