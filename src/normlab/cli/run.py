"""The command that trains a study."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal, Self

import typer

from normlab import streams
from normlab.cli.lint import findings_record, print_findings, print_warnings
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
from normlab.cli.summary import print_arms, print_summary
from normlab.cli.variant import print_lost_lines, print_variant, variant_text
from normlab.cli.verdicts import print_hopeless, print_verdicts
from normlab.errors import UserError, unknown

if TYPE_CHECKING:
    from pathlib import Path

    from normlab.answers import Results
    from normlab.study.engines.machines import EngineName
    from normlab.study.events import Event, RunPlanned
    from normlab.study.spec import Study
    from normlab.study.stored import StoredClaims
    from normlab.study.summary import Summary


def run(
    study: StudyName,
    seeds: Seeds = None,
    sets: Sets = None,
    quick: Quick = False,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Workers that train side by side; auto: one per core, or what a cluster has room "
            "for.",
        ),
    ] = "auto",
    engine: Annotated[
        str,
        typer.Option(
            metavar="auto|serial|processes|ray",
            help="What trains: this process, processes beside it, or a Ray cluster; auto: by "
            "--workers.",
        ),
    ] = "auto",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT",
            help="With --engine ray: where the cluster is; auto: this machine is a node of it.",
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="With --engine ray: GPUs of each worker; 0.25: four workers share one.",
        ),
    ] = None,
    memory_per_worker: Annotated[
        float | None,
        typer.Option(metavar="GIB", help="With --engine ray: memory that is kept for each worker."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Train only the K-th of N parts of the seeds: the others are other machines'.",
        ),
    ] = None,
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
            help="Train again what a machine or software that gives different bits has trained.",
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
    json: Json = False,
) -> None:
    """Train what a study still lacks, then write its report."""
    from normlab import api
    from normlab.study.runner import RunOptions
    from normlab.study.session import train
    from normlab.study.stored import stored_claims
    from normlab.terminal import console
    from normlab.wording import counted

    options = RunOptions(
        workers=_workers(workers),
        device=device,
        threads=threads,
        retry_failed=retry_failed,
        same_machine=same_machine,
        retrain_lost=retrain_lost,
        engine=_engine(engine),
        address=address,
        gpus_per_worker=gpus_per_worker,
        memory_per_worker=memory_per_worker,
        shard=shard,
    )
    if not json:
        streams.go_on_without_reader(_say_unread)
    chosen = api.load_study(
        study, seeds=seeds, overrides=parse_sets(sets), quick=quick, trust=trust or ()
    )
    if quick:
        console.print(_quick_text(chosen, api.load_study(study)), soft_wrap=True)
    else:
        print_variant(variant_text(chosen))
    if until_settled and seeds is not None:
        raise UserError("--until-settled decides the seeds: leave --seeds out")
    if max_seeds is not None and not until_settled:
        raise UserError("--max-seeds needs --until-settled")
    with _Narrator(runs) as narrator:
        summary = train(
            chosen,
            runs,
            options,
            until_settled=until_settled,
            max_seeds=max_seeds,
            listener=narrator,
        )
    # Before the verdicts: another run of the folder may end a trial meanwhile.
    stored = stored_claims(runs / chosen.name) if json else None
    found = api.results(chosen, runs=runs)
    if json:
        _print_json(chosen, runs, narrator, found, stored)
    else:
        print_arms(found)
        if len(found.claims):
            print_verdicts(found.claims, where=f"`normlab claims {chosen.name} --json`")
            console.print()
        if summary.others:
            console.print(
                f"report: not yet: {counted(summary.others, 'other run')} of this study in the "
                "same folder; the last one to end writes it",
                soft_wrap=True,
            )
        else:
            console.print(f"report: {api.report(chosen, runs=runs)}", soft_wrap=True)
    if summary.interrupted:
        console.print(
            f"{summary.interrupted}: whole epochs are stored; the same command again goes on"
        )
        raise typer.Exit(summary.exit_code)
    if summary.failed:
        raise typer.Exit(1)


def _print_json(
    study: Study, runs: Path, narrator: _Narrator, found: Results, stored: StoredClaims | None
) -> None:
    """What the run did and found, for programs; writes the report first."""
    from normlab import api
    from normlab.cli.checking import judged_record
    from normlab.cli.outputs.output import print_output
    from normlab.cli.outputs.run import StudyRun
    from normlab.cli.summary import summary_record

    planned, summary = narrator.planned, narrator.summary
    assert planned is not None
    assert summary is not None
    print_output(
        StudyRun,
        **judged_record(study.name, found.claims, stored),
        **summary_record(planned.plan, summary),
        warnings=planned.warnings,
        code_changes=planned.code_changes,
        findings=findings_record(api.lint(planned.plan)),
        looks=narrator.looks,
        arms=found.arms.to_dict("records"),
        notices=found.notices,
        report=None if summary.others else api.report(study, runs=runs),
    )


class _Narrator:
    """Says what a run is about to do, shows its progress, and sums up what it did."""

    def __init__(self, runs: Path) -> None:
        from normlab.progress import reporter

        self.runs, self.progress = runs, reporter()
        self.planned: RunPlanned | None = None
        self.summary: Summary | None = None
        self.looks: list[dict[str, object]] = []

    def __call__(self, event: Event) -> None:
        from normlab.study.events import LookTaken, RunEnded, RunPlanned

        self.progress(event)
        if isinstance(event, RunPlanned):
            self._introduce(event)
            self.planned = event
        elif isinstance(event, RunEnded) and self.planned is not None:
            print_summary(self.planned.plan, event.summary)
            self.summary = event.summary
        elif isinstance(event, LookTaken):
            self.looks.append({k: v for k, v in vars(event).items() if k != "study"})

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.__exit__(kind, error, trace)

    def _introduce(self, planned: RunPlanned) -> None:
        """Once, warn of what the plan cannot settle and of what looks like a slip."""
        from normlab import api
        from normlab.study.stored import claim_plans, other_rule
        from normlab.terminal import console

        plan = planned.plan
        for line in planned.code_changes:
            console.print(line, soft_wrap=True)
        if self.planned is not None:  # more seeds, at a look
            return
        print_warnings(planned.warnings)
        print_lost_lines(plan.record)
        if (rule := other_rule(plan, self.runs)) is not None:
            console.print(f"note: {rule}", soft_wrap=True)
        if not plan.study.rehearsal:
            where = f"`normlab plan {plan.study.name} --json`"
            print_hopeless(claim_plans(plan, self.runs, released=False), where=where)
            print_findings(api.lint(plan), where=where)


def _say_unread(error: OSError) -> None:
    """Told once, when standard output can no longer be written."""
    sys.stderr.write(
        f"normlab: the output cannot be written ({error.strerror}): the run goes on; "
        "`normlab status` shows how far it is\n"
    )


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


def _engine(text: str) -> EngineName:
    from normlab.study.engines.machines import ENGINES

    for name in ENGINES:
        if name == text:
            return name
    raise UserError(unknown("--engine", text, ENGINES))


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--workers is '{text}': a whole number above 0 or auto is allowed")
    return int(text)
