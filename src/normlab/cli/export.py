"""The command that writes a study for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab.cli.lost import print_lost
from normlab.cli.options import DEFAULT_RUNS, Json, Runs, StudyName


def export(
    study: StudyName,
    dest: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="A folder; for mlflow an SQLite file or a tracking URI.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="TOOL", help="mlflow, tensorboard, wandb (offline), trackio or safetensors."
        ),
    ],
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Write a study's trials and verdicts for another tool, adding only what is new.

    Exits with 1 where weights are lost.
    """
    from normlab import api
    from normlab.cli.variant import print_stored_variant
    from normlab.study.stored import stored_name
    from normlab.terminal import console, print_lines

    name = stored_name(study, runs)
    found = api.export(name, to=to, dest=dest, runs=runs)
    if json:
        from normlab.cli.outputs.exports import StudyExported
        from normlab.cli.outputs.output import print_output

        print_output(StudyExported, **vars(found))
    else:
        print_stored_variant(runs / name)
        console.print(str(found), soft_wrap=True)
        print_lines(list(found.shortened), "such text")
        print_lost(name, found.lost)
        if found.opens:
            console.print(found.opens, soft_wrap=True)
    if found.lost:
        raise typer.Exit(1)
