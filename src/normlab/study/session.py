"""A study trained as asked: once, or with seeds added at its looks until its claims are settled."""

from __future__ import annotations

from collections.abc import Set
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.errors import UserError
from normlab.store import Store
from normlab.study.engines import resolve_device
from normlab.study.events import Listener, LookTaken, NextLook, RunPlanned
from normlab.study.fast_path import slow_bfloat16
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from normlab.study.stored import changed_code, frames_of_plan
from normlab.study.summary import Summary
from normlab.study.telling import nobody

if TYPE_CHECKING:
    from normlab.frames import Frames


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
    if until_settled and options is not None and options.shard is not None:
        raise UserError("until_settled needs all trials of a look on one machine: leave shard out")
    Store.bring_up_to_date(runs / study.name)
    if not until_settled:
        return _run(make_plan(study), runs, options, listener)
    seeds = looks(study, max_seeds=max_seeds)
    stopped: dict[str, tuple[int, ...]] = {}
    for count, following in zip_longest(seeds, seeds[1:]):
        plan = make_plan(study.at_look(count, seeds, stopped))
        if not plan.record.judged:
            raise UserError(f"{study.name}: this variant has the arms of none of its claims")
        summary = _run(plan, runs, options, listener)
        if summary.interrupted:
            break
        # By its own plan: another run may have gone on to the next look already.
        frames = frames_of_plan(plan, runs)
        assert frames is not None, "the run that ended made its folder"
        found = verdicts_by_claim(frames)
        left = tuple(name for name, word in found.items() if word == "inconclusive")
        wanted = {arm for claim in plan.record.judged if claim.name in left for arm in claim.arms}
        stopped |= {
            arm.label: tuple(trial.seed for trial in arm.record.trials)
            for arm in plan.arms
            if arm.label not in wanted
        }
        listener(
            LookTaken(
                study=study.name,
                seeds=count,
                open_claims=left,
                settled_claims={name: word for name, word in found.items() if name not in left},
                next_look=_next(plan, frames, wanted, following) if left and following else None,
            )
        )
        if not left:
            break
    return summary


def _run(plan: Plan, runs: Path, options: RunOptions | None, listener: Listener) -> Summary:
    chosen = options or RunOptions()
    slow = None
    if chosen.engine != "ray":  # of a cluster's nodes this process knows nothing
        slow = slow_bfloat16(plan, resolve_device(chosen.device), chosen.threads)
    listener(
        RunPlanned(
            plan=plan,
            code_changes=tuple(changed_code(plan, runs)),
            warnings=(slow,) if slow else (),
        )
    )
    return run_plan(plan, runs, chosen, listener)


def _next(plan: Plan, frames: Frames, wanted: Set[str], seeds: int) -> NextLook:
    """What the arms of open claims take to so many seeds, at the speed of their trials so far."""
    from normlab.frames.hours import trial_seconds

    more = seeds - len(plan.study.seeds)
    seconds = trial_seconds(frames)
    return NextLook(
        seeds=seeds,
        arms=len(wanted),
        trials=more * len(wanted),
        hours=more * sum(seconds.get(arm, 0.0) for arm in wanted) / 3600,
    )


def looks(study: Study, *, max_seeds: int | None = None) -> tuple[int, ...]:
    """A study's declared looks: the seeds that its arms have at each of them.

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
    first = study.first_seed
    if study.seeds != tuple(range(first, first + len(study.seeds))):
        raise UserError(
            f"{study.name} lists its seeds, {list(study.seeds)}: give their number, so that looks "
            "can add to them"
        )
    declared = study.analysis.looks
    most = declared[-1] if max_seeds is None else max_seeds
    if most < FEWEST:
        raise UserError(f"max_seeds is {most!r}: a whole number from {FEWEST} on is needed")
    return declared_looks(most, declared)


def verdicts_by_claim(frames: Frames) -> dict[str, str]:
    """The verdict on each claim that this variant of the study has arms for, by its name."""
    from normlab.frames.judging import judge

    return {
        judged.record.name: judged.verdict.verdict
        for judged in judge(frames)
        if judged.verdict is not None
    }
