"""The command about claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.options import DEFAULT_RUNS, Json, Runs
from normlab.cli.variant import print_stored_variant
from normlab.cli.verdicts import print_verdicts, without_nan
from normlab.errors import UserError


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
    from normlab.study.stored import stored_name
    from normlab.terminal import console, print_json

    if (study is None) == (study_file is None):
        raise UserError("name one study: `claims STUDY`, or `claims --from FILE --study FILE`")
    if csv is not None:
        found = api.claims_from(csv, str(study or study_file), test_images=test_images)
    else:
        name = stored_name(str(study or study_file), runs)
        found = api.claims(name, runs=runs)
        if not json:
            print_stored_variant(runs / name)
    if json:
        print_json(without_nan(found.to_dict("records")))
        return
    if not len(found):
        console.print("the study makes no claims")
        return
    print_verdicts(found)
