"""The command that checks a norm against its definition."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab.cli.options import parse_sets
from normlab.errors import UserError


def check_norm(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|IMPORT_PATH|all", help="A kind, package.module:Class, all."),
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Check a class against this kind's definition."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Make the layer so; repeatable."),
    ] = None,
) -> None:
    """Check a norm layer against its definition; exits with 1 if it does not conform."""
    from normlab import api
    from normlab.norms.conformance import KINDS
    from normlab.terminal import console, table
    from normlab.wording import counted

    if name == "all" and (against or sets):
        raise UserError(
            "`check norm all` checks every kind as it is: leave --against and --set out"
        )
    options = parse_sets(sets) if sets else None
    failed = 0
    rows: list[tuple[str, ...]] = []
    for kind in KINDS if name == "all" else [name]:
        findings = api.check_norm(kind, against=against, options=options)
        for setting in dict.fromkeys(finding.setting for finding in findings):
            done = [f for f in findings if f.setting == setting]
            wrong = [f for f in done if f.wrong]
            failed += len(wrong)
            rows.append((kind, setting, f"{len(done) - len(wrong)} of {len(done)}"))
            rows += [("", f"  {f.check}", f.wrong or "") for f in wrong]
    console.print(table(["norm", "options", "passed"], rows, left=["options", "passed"]))
    console.print()
    if failed:
        console.print(f"{counted(failed, 'check')} failed")
        raise typer.Exit(1)
    console.print("every check passed")
