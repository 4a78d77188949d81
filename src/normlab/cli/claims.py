"""The command about claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from normlab.cli.checking import judged_record, print_check, stored_check
from normlab.cli.elsewhere import Group, Maps, RunNames, print_left_out, print_notes
from normlab.cli.options import DEFAULT_RUNS, Json, Runs
from normlab.cli.variant import print_stored_variant
from normlab.cli.verdicts import print_verdicts, without_nan
from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.trackers.asked import Ends, SelectedOn


def claims(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="A bundled study's name or a path.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Judge trials run elsewhere instead: a table, or what MLflow, TensorBoard, "
            "trackio or W&B logged.",
        ),
    ] = None,
    study_file: Annotated[
        str | None,
        typer.Option("--study", metavar="FILE.yaml", help="The study whose claims these are."),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --from: images an accuracy is a mean over."),
    ] = None,
    map_: Maps = None,
    names: RunNames = None,
    group: Group = None,
    selected_on: Annotated[
        str | None,
        typer.Option(
            metavar="test|validation|nothing",
            help="With --from: the images that chose epochs or hyperparameters there.",
        ),
    ] = None,
    ends: Annotated[
        str | None,
        typer.Option(
            metavar="common|own",
            help="With --from: compare curves of different lengths at the last common epoch, or "
            "each at its end.",
        ),
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
        raise UserError("name one study: `claims STUDY`, or `claims STUDY --from SOURCE`")
    stored = None
    if source is not None:
        from normlab.trackers.asked import from_options

        name = Path(str(study or study_file)).stem
        found = api.claims_from(
            source,
            str(study or study_file),
            map=from_options(map_ or []),
            names=names,
            group=group,
            selected_on=cast("SelectedOn | None", selected_on),
            ends=cast("Ends | None", ends),
            test_images=test_images,
        )
    else:
        _refuse_options(map_, names, group, selected_on, ends, test_images)
        name = stored_name(str(study or study_file), runs)
        stored = stored_claims(runs / name)  # before the verdicts: a trial may end meanwhile
        found = api.claims(name, runs=runs)
        if not json:
            print_stored_variant(runs / name)
    if json:
        from normlab.cli.outputs.claims import ClaimsJudged
        from normlab.cli.outputs.output import print_output

        print_output(
            ClaimsJudged,
            **judged_record(name, found, stored),
            notes=found.attrs.get("notes", []),
            left_out=found.attrs.get("left_out", []),
        )
    else:
        if len(found):
            print_verdicts(found)
        else:
            console.print("the study makes no claims")
        if source is not None:
            print_left_out(found.attrs["left_out"])
            if len(found):  # they are about the verdicts
                print_notes(found.attrs["notes"])
    if check:
        result = stored_check(without_nan(found.to_dict("records")), stored)
        print_check(result)
        raise typer.Exit(result.exit_code)


def _refuse_options(*given: object) -> None:
    if any(given):
        raise UserError(
            "--map, --names, --group, --selected-on, --ends and --test-images are for trials run "
            "elsewhere: they need --from"
        )
