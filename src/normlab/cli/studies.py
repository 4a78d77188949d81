"""The commands about studies: plan, run, status, report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from normlab.cli.options import (
    DEFAULT_RUNS,
    Json,
    Quick,
    Runs,
    Seeds,
    Sets,
    StudyName,
    parse_sets,
)
from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.study.plan import Plan
    from normlab.study.runner import Summary


def plan(
    study: StudyName,
    seeds: Seeds = None,
    sets: Sets = None,
    quick: Quick = False,
    runs: Runs = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """Show a study's arms and trials, and how many of them are done. Trains nothing."""
    from normlab import api
    from normlab.cli.output import console, counted, print_json, state_counts, table
    from normlab.recipe import value_text

    made = _plan(study, seeds, sets, quick)
    name = made.study.name
    states = api.stored_states(made, runs=runs)
    counts = Counter(states.values())
    if json:
        print_json({**made.as_record(), "states": states})
        return
    console.print(f"{name}: {made.study.question}", soft_wrap=True)
    console.print()
    console.print(
        table(
            ["arm", "parameters", "epochs", "recipe"],
            [
                (
                    arm.label,
                    f"{arm.parameters:,}",
                    arm.recipe.epochs,
                    ", ".join(f"{key}={value_text(v)}" for key, v in arm.levels.items()),
                )
                for arm in made.arms
            ],
            left=["recipe"],
        )
    )
    for arm in made.arms:
        for note in arm.notes:
            console.print(f"note on {arm.label}: {note}", soft_wrap=True)
    console.print()
    seeds_text = ", ".join(map(str, made.study.seeds))
    console.print(
        f"{counted(len(made.arms), 'arm')} x {counted(len(made.study.seeds), 'seed')} "
        f"({seeds_text}) = {counted(len(states), 'trial')}: {state_counts(counts)}",
        soft_wrap=True,
    )


def run(
    study: StudyName,
    seeds: Seeds = None,
    sets: Sets = None,
    quick: Quick = False,
    workers: Annotated[
        str, typer.Option(metavar="N|auto", help="Trials trained side by side; auto: one per core.")
    ] = "auto",
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="CPU threads of each worker.")
    ] = 1,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train failed trials again.")
    ] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Train what a study still lacks, then write its report."""
    from normlab.cli.output import console
    from normlab.cli.progress import reporter
    from normlab.report import write_report
    from normlab.study.runner import RunOptions, run_plan

    options = RunOptions(
        workers=_workers(workers), device=device, threads=threads, retry_failed=retry_failed
    )
    made = _plan(study, seeds, sets, quick)
    with reporter(made) as bars:
        summary = run_plan(made, runs, options, bars)
    folder = runs / made.study.name
    _print_summary(made, summary)
    _print_arms(folder)
    console.print(f"report: {write_report(folder)}", soft_wrap=True)
    if summary.interrupted:
        console.print("interrupted: whole epochs are stored; the same command again goes on")
        raise typer.Exit(130)
    if summary.counts.get("failed") or summary.counts.get("invalid"):
        raise typer.Exit(1)


def status(study: StudyName, runs: Runs = DEFAULT_RUNS, json: Json = False) -> None:
    """Show how far the last run of a study is, also while it runs."""
    from normlab import api
    from normlab.cli.output import console, counted, print_json, state_counts, table

    name = stored_name(study, runs)
    found = api.status(name, runs=runs)
    if json:
        print_json({"name": found.name, "counts": found.counts, "trials": found.trials})
        return
    console.print(
        f"{name}: {found.finished} of {counted(len(found.trials), 'trial')} finished "
        f"({state_counts(found.counts)})",
        soft_wrap=True,
    )
    rows: list[tuple[object, ...]] = []
    for arm in dict.fromkeys(trial["arm"] for trial in found.trials):
        trials = [trial for trial in found.trials if trial["arm"] == arm]
        texts = state_counts(Counter(trial["state"] for trial in trials))
        epochs = sum(trial["epochs"] for trial in trials)
        rows.append((arm, f"{epochs}/{sum(trial['of'] for trial in trials)}", texts))
    console.print(table(["arm", "epochs", "trials"], rows, left=["trials"]))
    for trial in found.trials:
        if trial["reason"]:
            last = trial["reason"].strip().splitlines()[-1]
            line = f"{trial['state']}: {trial['arm']}, seed {trial['seed']} ({trial['id']}): {last}"
            console.print(line, soft_wrap=True)


def report(study: StudyName, runs: Runs = DEFAULT_RUNS) -> None:
    """Write a study's report from what its last run stored."""
    from normlab.cli.output import console
    from normlab.report import write_report

    path = write_report(runs / stored_name(study, runs))
    console.print(str(path), soft_wrap=True)


def _plan(study: str, seeds: int | None, sets: list[str] | None, quick: bool) -> Plan:
    from normlab import api

    return api.plan(api.load_study(study, seeds=seeds, set=parse_sets(sets), quick=quick))


def stored_name(study: str, runs: Path) -> str:
    """The name under which the study's runs are stored.

    Raises:
        UserError: No such study, or it was never run there.
    """
    from normlab import api
    from normlab.study.files import find

    name = study
    if "/" in study or not api.has_runs(study, runs=runs):
        name = find(study).stem
    if not api.has_runs(name, runs=runs):
        raise UserError(f"{name} has no runs in {runs} yet: `normlab run {study}` makes them")
    return name


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--workers is '{text}': a whole number above 0 or auto is allowed")
    return int(text)


def _print_summary(made: Plan, summary: Summary) -> None:
    from normlab.cli.output import console, counted, state_counts

    for other, number in summary.adopted.items():
        console.print(f"{counted(number, 'trial')} taken over from {other}")
    for other, reason in summary.unreadable.items():
        console.print(f"not looked into for trials to take over: {other}: {reason}", soft_wrap=True)
    if summary.trained or summary.interrupted or summary.failures:
        console.print(
            f"trained {counted(summary.trained, 'trial')}; of {summary.planned}: "
            f"{state_counts(summary.counts)}"
        )
    else:
        console.print(f"nothing to train: all {counted(summary.planned, 'trial')} are finished")
    names = made.names()
    for trial, reason in summary.failures.items():
        console.print(
            f"failed: {names[trial]}: {reason}. The traceback is in the report; "
            "--retry-failed trains it again.",
            soft_wrap=True,
        )


def _print_arms(folder: Path) -> None:
    from normlab.cli.output import console, percent, table
    from normlab.report import arm_table, load_frames
    from normlab.store import Store

    with Store.read(folder) as store:
        arms = arm_table(load_frames(store))
    console.print()
    console.print(
        table(
            ["arm", "seeds", "test accuracy, %", "95 % interval", "seconds", "parameters"],
            [
                (
                    arm["arm"],
                    arm["finished"] or "–",
                    percent(arm["test_mean"]),
                    _interval(arm["test_low"], arm["test_high"]),
                    f"{arm['seconds']:.1f}" if arm["finished"] else "–",
                    f"{arm['parameters']:,}",
                )
                for arm in arms.to_dict("records")
            ],
        )
    )
    console.print()


def _interval(low: float, high: float) -> str:
    from normlab.cli.output import percent

    return f"{percent(low)} to {percent(high)}" if low == low else "–"  # noqa: PLR0124 (NaN)
