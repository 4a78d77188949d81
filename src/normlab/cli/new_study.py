"""The command that writes a study file for runs that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.elsewhere import Group, Maps, RunNames
from normlab.cli.options import Json


def new_study(
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A table of trials, or what MLflow, TensorBoard, trackio or W&B logged.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="The file to write; by default SOURCE's name with .yaml, in this folder.",
        ),
    ] = None,
    map_: Maps = None,
    names: RunNames = None,
    group: Group = None,
    json: Json = False,
) -> None:
    """Write a study file for runs made elsewhere: their arms, and a claim to fill in."""
    from normlab import api
    from normlab.terminal import console
    from normlab.trackers.asked import Asked, from_options
    from normlab.trackers.sketch import claims_command

    asked = Asked(map=from_options(map_ or []), names=names, group=group)
    file = api.new_study(source, out=out, map=asked.map, names=names, group=group)
    if json:
        from normlab.cli.outputs.claims import StudyWritten
        from normlab.cli.outputs.output import print_output

        print_output(StudyWritten, file=file, text=file.read_text(encoding="utf-8"))
        return
    console.print(file.read_text(encoding="utf-8"), soft_wrap=True)
    console.print(f"written: {file}. State its claims, then:", soft_wrap=True)
    console.print(claims_command(file, source, asked), soft_wrap=True)
