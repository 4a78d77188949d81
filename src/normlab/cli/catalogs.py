"""The commands about what there is: list and show."""

from __future__ import annotations

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
    from normlab.terminal import console, print_json, table

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
        print_json(shown)
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
    json: Json = False,
) -> None:
    """Show a model's layers: kernel, padding, stride, map, receptive field, parameters."""
    from dataclasses import asdict

    from normlab.data import describe
    from normlab.models import build, layer_count, layer_table, parameter_count
    from normlab.recipe import MODELS, Recipe, with_value
    from normlab.recipe.models import OwnModel
    from normlab.terminal import console, print_json, table

    chosen = parse_sets(sets)
    values: dict[str, object] = {"model": name, "norm": "batch"}
    if name in MODELS:
        values["data"] = MODELS[name].made_for
    elif not OwnModel.accepts(name):
        raise UserError(unknown("model", name, MODELS))
    elif "data" not in chosen:
        raise UserError(f"model '{name}' is yours: say for which images with --set data=NAME")
    for key, value in chosen.items():
        values = with_value(values, key, value)
    recipe = Recipe.parse(values)
    facts = describe(recipe.data)
    built = build(recipe, facts.shape, facts.num_classes, device="meta")
    rows = layer_table(built.model, facts.shape)
    total, notes = parameter_count(built.model), list(built.notes)
    if json:
        print_json({"layers": [asdict(row) for row in rows], "parameters": total, "notes": notes})
        return
    channels, height, width = facts.shape
    console.print(
        f"{name} with norm {recipe.norm.kind} on {recipe.data.kind} "
        f"({channels}x{height}x{width}, {facts.num_classes} classes): "
        f"{layer_count(rows)} layers with weights from image to class"
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
    made = table(columns, [*body, ("total", *[None] * 7, f"{total:,}")], left=["type"])
    console.print(made)
    for note in notes:
        console.print(f"note: {note}")


def show_study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="See `normlab list studies`.")],
) -> None:
    """Show a study's file as it is, to read or to copy: `show study NAME > mine.yaml`."""
    import sys

    from normlab.study.files import read_text

    text = read_text(name)
    # A copy is exact; a terminal is spared what it would obey.
    sys.stdout.write(shown(text, lines=True) if sys.stdout.isatty() else text)


def _bundled() -> list[str]:
    from normlab.study.files import bundled

    return list(bundled())
