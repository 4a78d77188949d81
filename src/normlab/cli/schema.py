"""The command that shows what `--json` prints."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab.cli.options import Json
from normlab.errors import UserError, unknown


def schema(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND...]", help="A command; left out: all are listed."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a command prints with --json, as JSON Schema: `schema claims`."""
    import sys
    from json import dumps

    from normlab.cli.outputs import OUTPUTS
    from normlab.cli.outputs.schema import schema_of
    from normlab.terminal import console, table

    name = " ".join(command or ())
    if name and name not in OUTPUTS:
        raise UserError(unknown("command", name, OUTPUTS))
    found = {each: schema_of(each) for each in ([name] if name else OUTPUTS)}
    if json:
        from normlab.cli.outputs.catalogs import Schemas
        from normlab.cli.outputs.output import print_output

        print_output(Schemas, schemas=found)
    elif name:
        sys.stdout.write(dumps(found[name], indent=2) + "\n")
    else:
        rows = [(each, made["description"]) for each, made in found.items()]
        console.print(
            table(
                ["command", "what it prints with --json"], rows, left=["what it prints with --json"]
            )
        )
