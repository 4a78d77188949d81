"""The command about claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.checking import judged_record, print_check, stored_check
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
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 if a claim is refuted, with 3 if one is still open."
        ),
    ] = False,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Judge a study's claims: supported, refuted or inconclusive, and the seeds to settle."""
    from normlab import api
    from normlab.study.stored import stored_claims, stored_name
    from normlab.terminal import console

    if (study is None) == (study_file is None):
        raise UserError("name one study: `claims STUDY`, or `claims --from FILE --study FILE`")
    stored = None
    if csv is not None:
        name = Path(str(study or study_file)).stem
        found = api.claims_from(csv, str(study or study_file), test_images=test_images)
    else:
        name = stored_name(str(study or study_file), runs)
        stored = stored_claims(runs / name)  # before the verdicts: a trial may end meanwhile
        found = api.claims(name, runs=runs)
        if not json:
            print_stored_variant(runs / name)
    if json:
        from normlab.cli.outputs.claims import ClaimsJudged
        from normlab.cli.outputs.output import print_output

        print_output(ClaimsJudged, **judged_record(name, found, stored))
    elif len(found):
        print_verdicts(found)
    else:
        console.print("the study makes no claims")
    if check:
        result = stored_check(without_nan(found.to_dict("records")), stored)
        print_check(result)
        raise typer.Exit(result.exit_code)
