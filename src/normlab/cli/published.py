"""The command about published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.options import DEFAULT_RUNS, Json, Runs, StudyName
from normlab.cli.variant import print_stored_variant

_HEAD = 16  # characters of a head before it wraps


def published(
    study: StudyName,
    latex: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the table there too, as LaTeX and Markdown."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table there too.")
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Show what a study's source printed beside ours: your runs, else the released findings."""
    from normlab import api
    from normlab.terminal import console, table

    found = api.published(study, runs=runs, latex=latex, csv=csv)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.published import PublishedBeside

        print_output(
            PublishedBeside,
            name=found.name,
            origin=found.origin,
            rehearsal=found.rehearsal,
            heading=found.heading,
            notes=found.notes,
            rows=found.rows.to_dict("records"),
        )
        return
    if not len(found.rows):
        console.print(f"{found.name}: the study file has no published numbers", soft_wrap=True)
    else:
        console.print(f"{found.name}: {found.heading}", soft_wrap=True)
        if found.origin == "runs":
            print_stored_variant(runs / found.name)
        rows: list[list[str]] = []
        for measure in found.text.measures:
            rows += [[measure.title], *([f"  {arm}", *cells] for arm, *cells in measure.rows)]
        made = table(found.text.columns, rows)
        # On a narrow screen heads and names wrap: no number may be lost.
        for index, column in enumerate(made.columns[1:], start=1):
            column.min_width = max(len(row[index]) for row in rows if len(row) > index)
            column.max_width = max(column.min_width, _HEAD)
        console.print(made)
        console.print()
    for note in found.notes:
        console.print(f"{note}.", soft_wrap=True)
    if latex is not None:
        for name in ("published.tex", "published.md"):
            console.print(str(latex / name), soft_wrap=True)
    if csv is not None:
        console.print(str(csv), soft_wrap=True)
