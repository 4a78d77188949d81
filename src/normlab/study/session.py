"""A study trained as asked: once, or with seeds added at its looks until its claims are settled."""

from __future__ import annotations

from pathlib import Path

from normlab.errors import UserError
from normlab.store import Store
from normlab.study.events import Listener, LookTaken, RunPlanned
from normlab.study.plan import make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from normlab.study.stored import changed_code, verdicts
from normlab.study.summary import Summary
from normlab.study.telling import nobody


def train(
    study: Study,
    runs: Path,
    options: RunOptions | None = None,
    *,
    until_settled: bool = False,
    max_seeds: int | None = None,
    listener: Listener = nobody,
) -> Summary:
    """Train what a study still lacks.

    Args:
        study: What to train.
        runs: The folder that holds a folder for each study.
        options: How to run.
        until_settled: Add seeds at the study's looks until no claim is open.
        max_seeds: The last look, instead of the last declared one.
        listener: Told the events of every run and look.

    Returns:
        What the last run did.

    Raises:
        UserError: A mistake in the study, or in what is asked of it; see `run_plan`.
    """
    if max_seeds is not None and not until_settled:
        raise UserError("max_seeds needs until_settled")
    stages = looks(study, max_seeds=max_seeds) if until_settled else [study]
    bring_up_to_date(runs / study.name)
    for stage in stages:
        plan = make_plan(stage)
        if until_settled and not plan.record.judged:
            raise UserError(f"{study.name}: this variant has the arms of none of its claims")
        listener(RunPlanned(plan=plan, code_changes=tuple(changed_code(plan, runs))))
        summary = run_plan(plan, runs, options, listener)
        if summary.interrupted or not until_settled:
            break
        left = open_claims(runs / study.name)
        listener(LookTaken(study=study.name, seeds=len(stage.seeds), open_claims=tuple(left)))
        if not left:
            break
    return summary


def looks(study: Study, *, max_seeds: int | None = None) -> list[Study]:
    """The study at each of its declared looks: what to run, one after the other, until settled.

    Args:
        study: Its `analysis.looks` are the numbers of seeds.
        max_seeds: The last look, instead of the last declared one.

    Raises:
        UserError: The study makes no claims, or fewer than 3 seeds are allowed.
    """
    from normlab.stats.contrasts import FEWEST
    from normlab.stats.sequential import declared_looks

    if not study.claims:
        raise UserError(f"{study.name} makes no claims that seeds could settle")
    if study.seeds != tuple(range(len(study.seeds))):
        raise UserError(
            f"{study.name} lists its seeds, {list(study.seeds)}: give their number, so that looks "
            "can add to them"
        )
    declared = study.analysis.looks
    most = declared[-1] if max_seeds is None else max_seeds
    if most < FEWEST:
        raise UserError(f"max_seeds is {most!r}: a whole number from {FEWEST} on is needed")
    seeds = declared_looks(most, declared)
    return [study.at_look(count, seeds) for count in seeds]


def open_claims(folder: Path) -> list[str]:
    """The claims that a study's stored trials leave inconclusive."""
    found = verdicts(folder)
    return [str(claim) for claim in found.loc[found["verdict"] == "inconclusive", "claim"]]


def bring_up_to_date(folder: Path) -> None:
    """Raise a store of an older schema before anything reads it; nothing else of it changes."""
    if Store.is_made(folder):
        with Store.write(folder):
            pass
