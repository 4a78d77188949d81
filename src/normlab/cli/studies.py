"""The commands about studies: plan, run, status, verify, report."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from normlab import streams
from normlab.cli.data import data_records, print_data
from normlab.cli.lint import findings_record, print_findings
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
    stored_name,
)
from normlab.cli.variant import print_stored_variant, print_variant, variant_text
from normlab.cli.verdicts import (
    print_claim_plans,
    print_hopeless,
    print_verdicts,
    without_nan,
)
from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.study.plan import Plan
    from normlab.study.runner import RunOptions
    from normlab.study.spec import Study
    from normlab.study.summary import Summary


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
) -> None:
    """Show a study's arms, trials and claims: what is done and what it can find out."""
    from normlab import api
    from normlab.cli.output import console, counted, print_json, state_counts, table
    from normlab.recipe import value_text
    from normlab.study.lint import lint

    made = _plan(study, seeds, sets, quick, trust)
    name = made.study.name
    states = api.stored_states(made, runs=runs)
    counts = Counter(states.values())
    claims = api.claim_plans(made, runs=runs)
    hopeless = claims[~claims["settles"].astype(bool)].to_dict("records")
    # Of a variant (other seeds, fixed factors) the user knows that it is less than the study.
    if hopeless and not force and not made.study.varied:
        first = hopeless[0]
        raise UserError(f"claim {first['claim']}: {first['obstacle']}. --force plans it anyway.")
    findings = lint(made)
    if json:
        plans = without_nan(claims.to_dict("records"))
        record = {
            **made.record.model_dump(mode="json"),
            "states": states,
            "claim_plans": plans,
            "findings": findings_record(findings),
            "code_changes": api.code_said(made, runs=runs)[1],
            "data": data_records(made),
        }
        print_json(record)
        return
    console.print(f"{name}: {made.study.question}", soft_wrap=True)
    print_variant(variant_text(made.record))
    console.print()
    print_data(made)
    console.print(
        table(
            ["arm", "parameters", "epochs", "recipe"],
            [
                (
                    arm.label,
                    f"{arm.parameters:,}",
                    arm.epochs,
                    ", ".join(f"{key}={value_text(v)}" for key, v in arm.levels.items()),
                )
                for arm in made.record.arms
            ],
            left=["recipe"],
        )
    )
    _print_notes(made)
    if api.has_runs(name, runs=runs):
        _print_owner(made.study, runs / name)
    console.print()
    seeds_text = ", ".join(map(str, made.study.seeds))
    console.print(
        f"{counted(len(made.arms), 'arm')} x {counted(len(made.study.seeds), 'seed')} "
        f"({seeds_text}) = {counted(len(states), 'trial')}: {state_counts(counts)}",
        soft_wrap=True,
    )
    counts_text, changes = api.code_said(made, runs=runs)
    for line in (*counts_text, *changes):
        console.print(line, soft_wrap=True)
    hours, unknown = api.expected_hours(made, runs=runs)
    if hours is not None:
        rest = f"; {counted(unknown, 'arm')} not measured yet" if unknown else ""
        console.print(f"about {hours:.2g} hours of training left on one worker{rest}")
    if len(claims):
        console.print()
        print_claim_plans(claims)
    print_findings(findings)


def _print_owner(study: Study, folder: Path) -> None:
    """Say that `run` will refuse a folder with the runs of another study file."""
    from normlab.cli.output import console
    from normlab.store import Store
    from normlab.study.owner import check_owner

    with Store.read(folder) as store:
        try:
            check_owner(store, study.file)
        except UserError as error:
            console.print(f"note: {error}", soft_wrap=True)


def _print_notes(made: Plan) -> None:
    """The notes on the arms; one that is on all of them once."""
    from normlab.cli.output import console

    arms: dict[str, list[str]] = {}
    for arm in made.record.arms:
        for note in arm.notes:
            arms.setdefault(note, []).append(arm.label)
    for note, labels in arms.items():
        every = len(labels) == len(made.arms) > 1
        for label in ["every arm"] if every else labels:
            console.print(f"note on {label}: {note}", soft_wrap=True)


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
    same_machine: Annotated[
        bool,
        typer.Option(
            "--same-machine",
            help="Train anew what other machines, threads or versions made: all bits from here.",
        ),
    ] = False,
    retrain_lost: Annotated[
        bool,
        typer.Option(
            "--retrain-lost",
            help="Train finished trials again whose weights or predictions are lost or damaged.",
        ),
    ] = False,
    until_settled: Annotated[
        bool,
        typer.Option(
            "--until-settled", help="Add seeds at the study's looks until its claims are settled."
        ),
    ] = False,
    max_seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="With --until-settled: the most seeds."),
    ] = None,
    trust: Trust = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Train what a study still lacks, then write its report."""
    from normlab import api
    from normlab.cli.output import console
    from normlab.reports import write_report
    from normlab.study.runner import RunOptions

    options = RunOptions(
        workers=_workers(workers),
        device=device,
        threads=threads,
        retry_failed=retry_failed,
        same_machine=same_machine,
        retrain_lost=retrain_lost,
    )
    streams.go_on_without_reader(_say_unread)
    chosen = api.load_study(
        study, seeds=seeds, set=parse_sets(sets), quick=quick, trust=trust or ()
    )
    if quick:
        console.print(_quick_text(chosen, api.load_study(study)), soft_wrap=True)
    else:
        print_variant(variant_text(chosen))
    folder = runs / chosen.name
    if until_settled:
        if seeds is not None:
            raise UserError("--until-settled decides the seeds: leave --seeds out")
        looks: Iterable[Study] = api.looks(chosen, max_seeds=max_seeds)
    else:
        if max_seeds is not None:
            raise UserError("--max-seeds needs --until-settled")
        looks = [chosen]
    _bring_up_to_date(chosen, runs)
    for number, look in enumerate(looks):
        summary = _run(look, runs, options, warn=number == 0 and not chosen.rehearsal)
        if summary.interrupted or not until_settled:
            break
        left = api.unsettled(look.name, runs=runs)
        console.print(f"{len(look.seeds)} seeds: {_settled_text(left)}", soft_wrap=True)
        if not left:
            break
    _print_arms(folder)
    found = api.claims(chosen.name, runs=runs)
    if len(found):
        print_verdicts(found)
        console.print()
    console.print(f"report: {write_report(folder)}", soft_wrap=True)
    if summary.interrupted:
        console.print(
            f"{summary.interrupted}: whole epochs are stored; the same command again goes on"
        )
        raise typer.Exit(summary.exit_code)
    if (
        summary.put_back
        or summary.not_mended
        or summary.counts.get("failed")
        or summary.counts.get("invalid")
    ):
        raise typer.Exit(1)


def _say_unread(error: OSError) -> None:
    """Told once, when standard output can no longer be written."""
    sys.stderr.write(
        f"normlab: the output cannot be written ({error.strerror}): the run goes on; "
        "`normlab status` shows how far it is\n"
    )


def _bring_up_to_date(study: Study, runs: Path) -> None:
    """Raise a store of an older schema before anything reads it; nothing else of it changes."""
    from normlab.store import Store

    if Store.is_made(runs / study.name):
        with Store.write(runs / study.name):
            pass


def _quick_text(varied: Study, whole: Study) -> str:
    """How a quick variant differs from its study: so many arms and seeds, these values."""
    from normlab.recipe import value_text
    from normlab.study.cells import cells

    parts = [
        f"{len(list(cells(varied)))} of {len(list(cells(whole)))} arms",
        f"{len(varied.seeds)} of {len(whole.seeds)} seeds",
        *(f"{key}={value_text(value)}" for key, value in varied.overrides.items()),
    ]
    return f"quick variant, a rehearsal: {', '.join(parts)}"


def _run(study: Study, runs: Path, options: RunOptions, *, warn: bool) -> Summary:
    """Train what a plan lacks; `warn` of what it cannot settle and what looks like a slip."""
    from normlab import api
    from normlab.cli.output import console
    from normlab.cli.progress import reporter
    from normlab.study.lint import lint
    from normlab.study.runner import run_plan

    made = api.plan(study)
    for line in api.code_said(made, runs=runs)[1]:
        console.print(line, soft_wrap=True)
    if warn:
        print_hopeless(api.claim_plans(made, runs=runs))
        print_findings(lint(made))
    with reporter(made) as bars:
        summary = run_plan(made, runs, options, bars)
    _print_summary(made, summary)
    return summary


def _settled_text(left: list[str]) -> str:
    return "open are " + "; ".join(left) if left else "every claim is settled"


def status(study: StudyName, runs: Runs = DEFAULT_RUNS, json: Json = False) -> None:
    """Show how far the last run of a study is, also while it runs."""
    from normlab import api
    from normlab.cli.output import console, counted, print_json, state_counts, table

    name = stored_name(study, runs)
    found = api.status(name, runs=runs)
    if json:
        record = {"name": found.name, "counts": found.counts, "trials": found.trials}
        print_json(record | {"lost": found.lost})
        return
    console.print(
        f"{name}: {found.finished} of {counted(len(found.trials), 'trial')} finished "
        f"({state_counts(found.counts)})"
        + (f"; {counted(len(found.lost), 'file')} of them lost" if found.lost else ""),
        soft_wrap=True,
    )
    print_stored_variant(runs / name)
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
    _print_lost(name, found.lost)


def verify(study: StudyName, runs: Runs = DEFAULT_RUNS, json: Json = False) -> None:
    """Hold the weights and predictions of finished trials against the hashes in the store."""
    from normlab import api
    from normlab.cli.output import console, counted, print_json

    name = stored_name(study, runs)
    found = api.verify(name, runs=runs)
    if json:
        print_json({"name": name, "files": found.files, "lost": found.lost})
    else:
        lost = len(found.lost)
        console.print(
            f"{name}: {found.files - lost} of {counted(found.files, 'file')} of finished trials "
            "are as they were stored",
            soft_wrap=True,
        )
        _print_lost(name, found.lost)
    if found.lost:
        raise typer.Exit(1)


def _print_lost(name: str, lost: Sequence[Mapping[str, Any]]) -> None:
    """The files of finished trials that are gone or damaged, and what makes them again."""
    from normlab.cli.output import console

    for file in lost:
        line = f"lost: {file['arm']}, seed {file['seed']}: {file['path']} {file['reason']}"
        console.print(line, soft_wrap=True)
    if lost:
        console.print(
            "The results of these trials are stored, their files are not. "
            f"`normlab run {name} --retrain-lost` trains them again.",
            soft_wrap=True,
        )


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
) -> None:
    """Write a study's report from what its last run stored."""
    from normlab.cli.output import console
    from normlab.reports import write_exports, write_report

    folder = runs / stored_name(study, runs)
    print_stored_variant(folder, aside=True)
    console.print(str(write_report(folder)), soft_wrap=True)
    made = write_exports(folder, figures=figures, latex=latex, csv=csv)
    for path in made.written:
        console.print(str(path), soft_wrap=True)
    for name, reason in made.not_drawn.items():
        console.print(f"{name}: {reason}", soft_wrap=True)


def _plan(
    study: str, seeds: int | None, sets: list[str] | None, quick: bool, trust: list[str] | None
) -> Plan:
    from normlab import api

    return api.plan(
        api.load_study(study, seeds=seeds, set=parse_sets(sets), quick=quick, trust=trust or ())
    )


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--workers is '{text}': a whole number above 0 or auto is allowed")
    return int(text)


def _print_summary(made: Plan, summary: Summary) -> None:
    from normlab import api
    from normlab.cli.output import console, counted, state_counts

    for other, number in summary.adopted.items():
        console.print(f"{counted(number, 'trial')} taken over from {other}")
    for other, reason in summary.unreadable.items():
        console.print(f"not taken over from {other}: {reason}", soft_wrap=True)
    if summary.trained or summary.interrupted or summary.failures or summary.put_back:
        console.print(
            f"trained {counted(summary.trained, 'trial')}; of {summary.planned}: "
            f"{state_counts(summary.counts)}"
        )
    else:
        are = "is" if summary.planned == 1 else "are"
        lost = f"; {counted(len(summary.losses), 'file')} of them lost" if summary.losses else ""
        console.print(
            f"nothing to train: all {counted(summary.planned, 'trial')} {are} finished{lost}"
        )
    names = made.record.names
    for trial, reason in summary.anew.items():
        console.print(f"started anew: {names[trial]}: {reason}", soft_wrap=True)
    for difference, count in summary.elsewhere.items():
        console.print(
            f"{counted(count, 'finished trial')} made with other bits than this run's, or so it "
            f"may be: {difference}. "
            "--same-machine trains them anew.",
            soft_wrap=True,
        )
    for trial, reason in summary.invalid.items():
        text = f"invalid, counts for nothing: {names[trial]}: {reason}"
        console.print(text, soft_wrap=True)
    for trial, reason in summary.put_back.items():
        console.print(
            f"not trained, pending again: {names[trial]}: {reason}. Nothing is wrong with the "
            "trial: the same command goes on with it; fewer --workers need less memory.",
            soft_wrap=True,
        )
    for why, again in (
        ("trained again for its lost files", summary.mended),
        ("trained anew on this machine", summary.replaced),
    ):
        for trial, equal in again.items():
            said = (
                "equal weights" if equal else "other weights, which take the place of the old ones"
            )
            console.print(f"{why}: {names[trial]}: {said}", soft_wrap=True)
    for trial, reason in summary.not_mended.items():
        text = f"training again failed, the result stays: {names[trial]}: {reason}"
        console.print(text, soft_wrap=True)
    _print_lost(made.study.name, api.lost_files(made.record, summary.losses))
    for trial, reason in summary.failures.items():
        console.print(
            f"failed: {names[trial]}: {reason}. The traceback is in the report; "
            "--retry-failed trains it again.",
            soft_wrap=True,
        )


def _print_arms(folder: Path) -> None:
    from normlab.cli.output import console, percent, table
    from normlab.frames import arm_table, load_frames
    from normlab.reports import notices
    from normlab.store import Store

    with Store.read(folder) as store:
        frames = load_frames(store)
    arms = arm_table(frames)
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
    for notice in notices(frames):
        console.print(f"mind: {notice}", soft_wrap=True)


def _interval(low: float, high: float) -> str:
    from normlab.cli.output import percent

    return f"{percent(low)} to {percent(high)}" if low == low else "–"  # noqa: PLR0124 (NaN)
