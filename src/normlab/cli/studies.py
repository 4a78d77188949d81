"""The commands about studies: plan, status, verify, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab.cli.costs import costs_record, print_costs, telling
from normlab.cli.data import data_records, print_data
from normlab.cli.lint import findings_record, print_findings, print_warnings
from normlab.cli.lost import print_lost
from normlab.cli.options import (
    DEFAULT_RUNS,
    Json,
    Quick,
    Runs,
    Seeds,
    Sets,
    StudyName,
    Trust,
    parse_sets,
)
from normlab.cli.variant import (
    print_lost_lines,
    print_stored_variant,
    print_variant,
    variant_text,
)
from normlab.cli.verdicts import print_claim_plans
from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.study.plan import Plan


def plan(
    study: StudyName,
    seeds: Seeds = None,
    sets: Sets = None,
    quick: Quick = False,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
    trust: Trust = None,
    force: Annotated[
        bool, typer.Option("--force", help="Plan claims that no outcome could settle too.")
    ] = False,
    no_probe: Annotated[
        bool,
        typer.Option(
            "--no-probe", help="Time no training steps: hours only as stored trials tell them."
        ),
    ] = False,
) -> None:
    """Show a study's arms, trials, costs and claims: what is done and what it can find out."""
    from normlab import api
    from normlab.study import stored
    from normlab.study.costs import costs_of
    from normlab.study.fast_path import slow_bfloat16
    from normlab.terminal import console
    from normlab.wording import counted, state_counts

    chosen = api.load_study(
        study, seeds=seeds, overrides=parse_sets(sets), quick=quick, trust=trust or ()
    )
    made = api.plan(chosen)
    states = stored.states_of(made, runs)
    frames = stored.frames_of_plan(made, runs)
    claims = stored.claim_plans(made, runs, frames=frames)
    hopeless = claims[~claims["settles"].astype(bool)].to_dict("records")
    # Of a variant (other seeds, fixed factors) the user knows that it is less than the study.
    if hopeless and not force and not made.study.varied:
        first = hopeless[0]
        raise UserError(f"claim {first['claim']}: {first['obstacle']}. --force plans it anyway.")
    findings = api.lint(made)
    with telling() as told:
        costs = costs_of(made, runs, claims=claims, frames=frames, probing=not no_probe, told=told)
    slow = slow_bfloat16(made, costs.device, costs.threads, measure=not no_probe)
    warnings = [slow] if slow else []
    claims = claims.assign(hours=costs.claims["hours"])
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.plan import StudyPlanned

        print_output(
            StudyPlanned,
            **made.record.model_dump(mode="json"),
            states=states,
            claim_plans=claims.to_dict("records"),
            findings=findings_record(findings),
            warnings=warnings,
            code_changes=stored.changed_code(made, runs),
            data=data_records(made),
            costs=costs_record(costs),
        )
        return
    console.print(f"{made.study.name}: {made.study.question}", soft_wrap=True)
    print_variant(variant_text(made.record))
    print_lost_lines(made.record)
    console.print()
    print_data(made)
    _print_planned_arms(made)
    _print_notes(made)
    if (refusal := stored.stranger(made.study, runs)) is not None:
        console.print(f"note: {refusal}", soft_wrap=True)
    console.print()
    seeds_text = _seeds_text(made.study.seeds)
    arms, of_each = counted(len(made.arms), "arm"), counted(len(made.study.seeds), "seed")
    trials, done = counted(len(states), "trial"), state_counts(Counter(states.values()))
    console.print(f"{arms} x {of_each} ({seeds_text}) = {trials}: {done}", soft_wrap=True)
    for line in (line for lines in stored.counted_code(made, runs) for line in lines):
        console.print(line, soft_wrap=True)
    console.print()
    print_costs(costs)
    print_warnings(warnings)
    if len(claims):
        console.print()
        print_claim_plans(claims)
    print_findings(findings)


def _seeds_text(seeds: Sequence[int]) -> str:
    """All of a few seeds, the ends of many."""
    if len(seeds) <= _SEEDS:
        return ", ".join(map(str, seeds))
    return f"{seeds[0]}, {seeds[1]}, {seeds[2]}, ..., {seeds[-1]}"


_SEEDS = 100  # shown in a line


def _print_planned_arms(made: Plan) -> None:
    from normlab.recipe import value_text
    from normlab.terminal import console, fewer, table

    some, more = fewer(made.record.arms, "arm")
    rows = [
        (
            arm.label,
            f"{arm.parameters:,}",
            arm.epochs,
            ", ".join(f"{key}={value_text(value)}" for key, value in arm.levels.items()),
        )
        for arm in some
    ]
    console.print(table(["arm", "parameters", "epochs", "recipe"], rows, left=["recipe"]))
    if more:
        console.print(more)


def _print_notes(made: Plan) -> None:
    """The notes on the arms; one that is on all of them once."""
    from normlab.terminal import print_lines

    lines: list[str] = []
    arms: dict[str, list[str]] = {}
    for arm in made.record.arms:
        for note in arm.notes:
            arms.setdefault(note, []).append(arm.label)
    for note, labels in arms.items():
        every = len(labels) == len(made.arms) > 1
        lines += [f"note on {label}: {note}" for label in (["every arm"] if every else labels)]
    print_lines(lines, "note")


def status(study: StudyName, runs: Runs = DEFAULT_RUNS, json: Json = False) -> None:
    """Show how far the last run of a study is, also while it runs."""
    from normlab import api
    from normlab.records import FINISHED
    from normlab.study.stored import stored_name
    from normlab.terminal import MOST_ROWS, console, fewer, print_lines, table
    from normlab.wording import counted, state_counts

    name = stored_name(study, runs)
    found = api.status(name, runs=runs)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.studies import StudyProgress

        print_output(
            StudyProgress,
            name=found.name,
            counts=found.counts,
            trials=found.trials,
            lost=found.lost,
            at_work=found.at_work,
        )
        return
    console.print(str(found), soft_wrap=True)
    if found.at_work > 1:
        console.print(f"{counted(found.at_work, 'run')} are at work")
    print_stored_variant(runs / name)
    arms = found.by_arm()
    if len(arms) > MOST_ROWS:  # those that are not through come first
        arms.sort(key=lambda arm: set(arm[3]) <= FINISHED)
    some, more = fewer(arms, "arm")
    rows = [(arm, f"{done}/{of}", state_counts(states)) for arm, done, of, states in some]
    console.print(table(["arm", "epochs", "trials"], rows, left=["trials"]))
    if more:
        console.print(more)
    lines = []
    for trial in found.trials:
        if trial["reason"]:
            last = trial["reason"].strip().splitlines()[-1]
            where = f"{trial['arm']}, seed {trial['seed']} ({trial['id']})"
            lines.append(f"{trial['state']}: {where}: {last}")
    print_lines(lines, "such trial")
    print_lost(name, found.lost)


def verify(study: StudyName, runs: Runs = DEFAULT_RUNS, json: Json = False) -> None:
    """Check the weights and predictions of finished trials against the hashes in the store."""
    from normlab import api
    from normlab.study.stored import stored_name
    from normlab.terminal import console
    from normlab.wording import counted

    name = stored_name(study, runs)
    found = api.verify(name, runs=runs)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.studies import FilesVerified

        print_output(FilesVerified, name=name, files=found.files, lost=found.lost)
    else:
        lost = len(found.lost)
        console.print(
            f"{name}: {found.files - lost} of {counted(found.files, 'file')} of finished trials "
            "are as they were stored",
            soft_wrap=True,
        )
        print_lost(name, found.lost)
    if found.lost:
        raise typer.Exit(1)


def report(
    study: StudyName,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every figure there too, as SVG and PDF."),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the tables there too, as LaTeX and Markdown."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write every epoch there too, for `claims --from` elsewhere."
        ),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Write a study's report from what its last run stored."""
    from normlab import api
    from normlab.reports import write_exports
    from normlab.study.stored import stored_name
    from normlab.terminal import console

    name = stored_name(study, runs)
    print_stored_variant(runs / name, aside=True)
    page = api.report(name, runs=runs)
    if not json:
        console.print(str(page), soft_wrap=True)
    made = write_exports(runs / name, figures=figures, latex=latex, csv=csv)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.studies import ReportWritten

        print_output(
            ReportWritten, name=name, report=page, written=made.written, not_drawn=made.not_drawn
        )
        return
    for path in made.written:
        console.print(str(path), soft_wrap=True)
    for figure, reason in made.not_drawn.items():
        console.print(f"{figure}: {reason}", soft_wrap=True)
