"""The command that checks a norm against its definition."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab.cli.options import Json, parse_sets
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
    json: Json = False,
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
    found = {
        kind: api.check_norm(kind, against=against, options=options)
        for kind in (KINDS if name == "all" else [name])
    }
    failed = sum(1 for findings in found.values() for one in findings if one.wrong)
    if json:
        from normlab.cli.outputs.norms import NormsChecked
        from normlab.cli.outputs.output import print_output

        checks = [
            {
                "norm": kind,
                "setting": one.setting,
                "check": one.check,
                "passed": not one.wrong,
                "wrong": one.wrong or None,
            }
            for kind, findings in found.items()
            for one in findings
        ]
        print_output(NormsChecked, passed=len(checks) - failed, failed=failed, checks=checks)
        raise typer.Exit(1 if failed else 0)
    rows: list[tuple[str, ...]] = []
    for kind, findings in found.items():
        for setting in dict.fromkeys(finding.setting for finding in findings):
            done = [f for f in findings if f.setting == setting]
            wrong = [f for f in done if f.wrong]
            rows.append((kind, setting, f"{len(done) - len(wrong)} of {len(done)}"))
            rows += [("", f"  {f.check}", f.wrong or "") for f in wrong]
    console.print(table(["norm", "options", "passed"], rows, left=["options", "passed"]))
    console.print()
    if failed:
        console.print(f"{counted(failed, 'check')} failed")
        raise typer.Exit(1)
    console.print("every check passed")
