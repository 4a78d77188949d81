"""The command about claims."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normlab.cli.options import DEFAULT_RUNS, Json, Runs
from normlab.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def claims(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A bundled study's name or a path.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE.csv", help="Judge trials run elsewhere instead."),
    ] = None,
    study_file: Annotated[
        str | None,
        typer.Option("--study", metavar="FILE.yaml", help="The study whose claims these are."),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --from: images an accuracy is a mean over."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Judge a study's claims: supported, refuted or inconclusive, and the seeds to settle."""
    from normlab import api
    from normlab.cli.output import console, print_json

    if (study is None) == (study_file is None):
        raise UserError("name one study: `claims STUDY`, or `claims --from FILE --study FILE`")
    if csv is not None:
        found = api.claims_from(csv, str(study or study_file), test_images=test_images)
    else:
        from normlab.cli.studies import stored_name

        found = api.claims(stored_name(str(study or study_file), runs), runs=runs)
    if json:
        print_json(_plain(found))
        return
    if not len(found):
        console.print("the study makes no claims")
        return
    print_verdicts(found)


def print_verdicts(found: pd.DataFrame) -> None:
    """The verdicts as a table, then why each of them."""
    from normlab.cli.output import console, table

    rows = []
    for row in found.to_dict("records"):
        size = f", {row['size']}" if isinstance(row["size"], str) else ""
        settle = row["seeds_to_settle"]
        known = settle is not None and not math.isnan(settle)
        rows.append(
            (
                row["claim"],
                f"{row['verdict']}{size}",
                row["measured"],
                row["seeds"],
                f"{settle:.0f}" if known else None,
            )
        )
    columns = ["claim", "verdict", "measured", "seeds", "seeds to settle"]
    console.print(table(columns, rows, left=["verdict", "measured"]))
    console.print()
    for row in found.to_dict("records"):
        console.print(f"{row['claim']}: {row['reason']}", soft_wrap=True)
        if isinstance(row["exploratory"], str):
            console.print(f"  exploratory: {row['exploratory']}", soft_wrap=True)
        if isinstance(row["left_out"], str) and row["left_out"]:
            console.print(f"  left out: {row['left_out']}", soft_wrap=True)


def _plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: what is no number is null."""

    def value(cell: Any) -> Any:
        bad = isinstance(cell, float) and not math.isfinite(cell)
        return None if bad else (cell.item() if hasattr(cell, "item") else cell)

    return [{str(k): value(v) for k, v in row.items()} for row in found.to_dict("records")]
