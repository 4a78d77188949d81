"""Running a study: what is missing is trained, what is done stays, everything is stored."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from normlab import data
from normlab.errors import MACHINE_ERRORS, UserError, end_word, unknown
from normlab.files import sweep
from normlab.places import TOGETHER, Place, difference_text, differing
from normlab.records import FINISHED, UNFINISHED, TrialState
from normlab.records.plan import Declaration
from normlab.store import DATABASE, Loss, NoRunsError, Store
from normlab.store.plans import as_written
from normlab.store.takeover import refusals
from normlab.study.engines import (
    Engine,
    Task,
    Unit,
)
from normlab.study.engines.machines import ENGINES, EngineName, Machines, machines
from normlab.study.events import Listener, RunEnded
from normlab.study.groups import is_timed, units_of
from normlab.study.owner import check_owner, way_to
from normlab.study.plan import Plan
from normlab.study.shard import Shard
from normlab.study.sharing import train_all
from normlab.study.summary import Summary
from normlab.study.taking import Taking
from normlab.study.telling import Telling, nobody

_MOST = 1_000_000
"""GPUs, or GiB, of a worker: more has no node."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; no part of what a trial is.

    Attributes:
        workers: Processes that train side by side; "auto" is one per CPU core, and one on a GPU.
            Each takes one trial, or several of one shape together; see `normlab.study.groups`.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of each worker.
        retry_failed: Train failed trials again.
        same_machine: Train again every trial whose bits this machine would not reproduce, and take
            none of that kind over from other studies. A trial is replaced once its new training has
            ended.
        retrain_lost: Train finished trials again whose files are gone or damaged; every file is
            checked against its SHA-256 for that.
        engine: "serial", "processes" or "ray"; "auto" is one of the first two, by `workers`.
        address: Of the Ray cluster: HOST:PORT, or "auto" (also None) for the one that this machine
            is a node of.
        gpus_per_worker: GPUs of a Ray worker; a fraction lets several workers share one. None is
            one if the trials train on GPUs.
        memory_per_worker: GiB of memory that Ray keeps for a worker; None keeps none.
        shard: K/N: train only the K-th of N parts of the seeds; the others are other machines'.
    """

    workers: int | Literal["auto"] = 1
    device: str = "auto"
    threads: int = 1
    retry_failed: bool = False
    same_machine: bool = False
    retrain_lost: bool = False
    engine: EngineName = "auto"
    address: str | None = None
    gpus_per_worker: float | None = None
    memory_per_worker: float | None = None
    shard: str | None = None

    def __post_init__(self) -> None:
        """Raise UserError for an engine, a shard or a number that there cannot be."""
        if self.shard is not None:
            Shard.parse(self.shard)
        if self.engine not in ENGINES:
            raise UserError(unknown("engine", str(self.engine), ENGINES))
        for name in ("gpus_per_worker", "memory_per_worker"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value <= _MOST):
                raise UserError(
                    f"{name} is {value!r}: a number above 0, at most {_MOST:,}, is allowed"
                )
        gpus = self.gpus_per_worker
        if gpus is not None and round(gpus, 4 if gpus < 1 else 0) != gpus:
            raise UserError(
                f"gpus_per_worker is {gpus!r}: Ray knows whole GPUs, or a share of one with at "
                "most 4 decimals"
            )
        for name in ("workers", "threads"):
            value = getattr(self, name)
            allowed = "a whole number above 0" + (" or auto" if name == "workers" else "")
            if not (value == "auto" and name == "workers") and not (
                isinstance(value, int) and value >= 1
            ):
                raise UserError(f"{name} is {value!r}: {allowed} is allowed")


def run_plan(
    plan: Plan, runs: Path, options: RunOptions | None = None, listener: Listener = nobody
) -> Summary:
    """Train every trial of the plan that is not finished yet.

    Args:
        plan: What to train.
        runs: The folder that holds a folder for each study.
        options: How to run.
        listener: Told what happens, from `RunBegan` to `RunEnded`. What it raises ends the run;
            what was trained until then is stored.

    Raises:
        UserError: The data cannot be had, the device is not there, or the folder cannot be written.
        MachineError: A full disk or the like ended the run; what is finished and the checkpoints
            of the rest are stored, and the same call goes on.
    """
    options = options or RunOptions()
    with machines(
        options.engine,
        address=options.address,
        gpus_per_worker=options.gpus_per_worker,
        memory_per_worker=options.memory_per_worker,
    ) as there:
        summary = _run_plan(plan, runs, options, listener, there)
        summary = replace(summary, notes=tuple(there.notes))
    listener(RunEnded(study=plan.study.name, summary=summary))
    return summary


def _run_plan(
    plan: Plan, runs: Path, options: RunOptions, listener: Listener, there: Machines
) -> Summary:
    device = there.device(options.device)
    # Asked before the store is opened: what cannot train changes nothing there.
    there.worker_count(
        workers=options.workers, device=device, threads=options.threads, units=len(plan.trials)
    )
    ours = _ours(plan, options)
    # Read here first: data that are missing are the user's to mend, not a trial's failure, and a
    # mistake changes nothing in the store.
    for spec in dict.fromkeys(arm.recipe.data for arm in plan.arms):
        data.load(spec)
    folder = runs / plan.study.name
    ids = list(plan.trials)
    # Finished trials are replaced by a run that nobody shares the folder with.
    is_alone = options.same_machine or options.retrain_lost
    with Store.write(folder) if is_alone else Store.join(folder) as store:
        check_owner(store, plan.study.file)
        if not store.joined_plan(plan.record):
            _look_back(store)
        record = plan.record.model_copy(update={"file": way_to(plan.study, folder)})
        store.record_plan(record, plan.rows())
        states = store.states(ids)
        # Those that no run at work has: the process that ran them is gone.
        again = [i for i in ids if states[i] == "running"]
        blameless, failed = _failed(store, states, options)
        store.release([*again, *blameless, *failed])
        summary = Summary(planned=len(ids), counts={}, failures={})
        here = _one_place(there, options, device)
        if store.is_alone:  # else the first of the runs here did
            summary = _adopt(
                store,
                runs,
                [i for i in ids if states[i] not in FINISHED],
                summary,
                here,
                timed=is_timed(plan.study),
            )
        states = store.states(ids)
        foreign: set[str] = set()
        finished = [i for i in ids if states[i] in FINISHED]
        if finished and (place := here or there.here(device, options.threads)) is not None:
            texts = _elsewhere(store, finished, place)
            if options.same_machine:
                foreign = set(texts)
            else:
                summary = replace(summary, elsewhere=dict(Counter(texts.values())))
        losses = store.losses(ids, hashes=options.retrain_lost)
        lost = foreign | ({loss.trial_id for loss in losses} if options.retrain_lost else set())
        _sweep(store, keep=lost, forget=set(failed))
        store.let_in()
        wanted = ours & ({i for i in ids if states[i] in UNFINISHED} | lost)
        tasks = _tasks(plan, folder, wanted, store.run)
        alone = _alone_as_before(store, lost - foreign)
        telling = Telling(plan, listener)
        taking = Taking(store, tasks, lost, foreign, summary)
        try:
            stopped = train_all(
                taking,
                tasks,
                telling,
                lambda some: _engine(plan, some, options, device, alone, there=there),
            )
        finally:
            if tasks:
                _sweep(store, keep=lost)
        summary = replace(summary, trained=taking.ended)
        if stopped is not None:
            number = getattr(stopped, "number", signal.SIGINT)
            summary = replace(summary, interrupted=end_word(stopped), signal=number)
        summary = _summed_up(store, plan, ours, summary, losses)
        return replace(summary, shard=options.shard, others=store.leave())


def _summed_up(
    store: Store, plan: Plan, ours: AbstractSet[str], summary: Summary, losses: Sequence[Loss]
) -> Summary:
    """What became of the plan's trials; that they could be seen is remembered."""
    states = store.states(plan.trials)
    finished = [i for i, state in states.items() if state in FINISHED]
    store.add_look(plan.record.declaration, finished)
    made_anew = {*summary.mended, *summary.replaced}
    failed = _reasons(store, states, "failed")
    return replace(
        summary,
        counts=dict(Counter[str](states.values())),
        left=sum(state in UNFINISHED for i, state in states.items() if i not in ours),
        failures={i: reason.strip().splitlines()[-1] for i, reason in failed.items()},
        invalid=_reasons(store, states, "invalid"),
        losses=tuple(loss for loss in losses if loss.trial_id not in made_anew),
    )


def _ours(plan: Plan, options: RunOptions) -> set[str]:
    """Ids of the trials that this run is to train, finished ones included."""
    if options.shard is None:
        return set(plan.trials)
    seeds = Shard.parse(options.shard).seeds(plan.study.seeds)
    return {i for i, trial in plan.trials.items() if trial.seed in seeds}


def _one_place(there: Machines, options: RunOptions, device: str) -> Place | None:
    """The place that all trials have to be of; None where any is right.

    Raises:
        UserError: They have to be of one, and it is not known.
    """
    if not options.same_machine:
        return None
    place = there.here(device, options.threads)
    if place is None:
        raise UserError("same_machine needs a GPU on this machine too: its kind is compared")
    return place


def _reasons(store: Store, states: Mapping[str, TrialState], state: TrialState) -> dict[str, str]:
    """Why trials came to a state, by id."""
    found = [trial for trial, its in states.items() if its == state]
    return {row["id"]: row["reason"] for row in store.rows("trials", found)}


def _tasks(
    plan: Plan, folder: Path, wanted: AbstractSet[str], run: str | None = None
) -> list[Task]:
    return [
        Task(
            trial_id=trial.id,
            recipe=trial.arm.recipe,
            seed=trial.seed,
            folder=folder,
            code=trial.code,
            code_files=plan.study.code,
            run=run,
        )
        for trial in plan.trials.values()
        if trial.id in wanted
    ]


def _engine(
    plan: Plan,
    tasks: Sequence[Task],
    options: RunOptions,
    device: str,
    alone: AbstractSet[str],
    *,
    there: Machines,
) -> tuple[Engine, list[Unit]]:
    """Who trains the tasks, and as which units of work."""
    threads = options.threads
    most = there.worker_count(
        workers=options.workers, device=device, threads=threads, units=len(tasks)
    )
    units = units_of(tasks, device, most, timed=is_timed(plan.study), alone=alone)
    return there.choose(workers=most, device=device, threads=threads, units=len(units)), units


def _look_back(store: Store) -> None:
    """Remember what could be seen under the plan before this one, also if its run was killed."""
    try:
        before = store.plan()
        with as_written(store.folder):
            ids, declaration = list(before.trials), before.declaration
    except UserError:  # the first run, or a plan of nobody's
        return
    finished = [i for i, state in store.states(ids).items() if state in FINISHED]
    if finished:
        store.add_look(declaration, finished)


def _failed(
    store: Store, states: Mapping[str, TrialState], options: RunOptions
) -> tuple[list[str], list[str]]:
    """Failed trials that are to be trained again: by a fault of the machine's, by their own."""
    failed = [trial for trial, state in states.items() if state == "failed"]
    blameless = _failed_by_machine(store, failed)
    return blameless, [i for i in failed if i not in blameless] if options.retry_failed else []


def _failed_by_machine(store: Store, failed: list[str]) -> list[str]:
    """Trials that normlab 0.1 called failed where a full disk or the like had stopped them."""
    reasons = {row["id"]: row["reason"] or "" for row in store.rows("trials", failed)}
    last = {i: (reason.strip().splitlines() or [""])[-1] for i, reason in reasons.items()}
    return [i for i in failed if _OF_MACHINE.match(last.get(i, ""))]


_NUMBERS = "|".join(str(number) for number in sorted(MACHINE_ERRORS))
_OF_MACHINE = re.compile(
    rf"OSError: \[Errno (?:{_NUMBERS})\]|MemoryError\b|the worker process was ended by SIGKILL"
)


def _sweep(store: Store, *, keep: set[str], forget: AbstractSet[str] = frozenset()) -> None:
    """Remove what killed runs left: checkpoints no trial goes on from, half-written files.

    The checkpoints of all unfinished trials stay, also of those that are not in the plan of the
    day: a rehearsal costs no epoch of the study.
    """
    kept = {f"{trial}.pt" for trial in (store.unfinished() | keep) - forget}
    checkpoints = store.folder / "checkpoints"
    if checkpoints.is_dir() and not checkpoints.is_symlink():
        sweep(checkpoints)  # other runs may be writing there
        ours = {".pt", ".tmp"} if store.is_alone else {".pt"}  # what else is there is not a run's
        for path in checkpoints.iterdir():
            is_left = path.suffix in ours and path.name not in kept
            if is_left and (path.is_symlink() or path.is_file()):
                path.unlink(missing_ok=True)
    store.sweep()
    for folder in (store.folder, store.folder / "tables"):
        sweep(folder)


def _elsewhere(store: Store, trial_ids: Sequence[str], here: Place) -> dict[str, str]:
    """How the places of trials differ from this one, by id, of those that do."""
    found = {}
    for trial_id, places in store.places(trial_ids).items():
        for place in places:
            if fields := differing(place, here):
                found[trial_id] = difference_text(place, here, fields)
    return found


def _alone_as_before(store: Store, lost: AbstractSet[str]) -> set[str]:
    """Trials that torch's path trained, whose files are to get the bytes that they had."""
    return set(lost) - _trained_together(store, list(lost))


def _trained_together(store: Store, trial_ids: Sequence[str]) -> set[str]:
    """Trials that lanes trained: their seconds are shares."""
    places = store.places(trial_ids)
    return {i for i, its in places.items() if any(TOGETHER in place for place in its)}


def _adopt(
    store: Store,
    runs: Path,
    missing: list[str],
    summary: Summary,
    here: Place | None,
    *,
    timed: bool,
) -> Summary:
    """Take finished trials over from the other studies in the same runs folder.

    Args:
        store: The study's.
        runs: Where the others lie.
        missing: What the study lacks.
        summary: Gets what was taken.
        here: Where given, only trials whose bits are those of this place are taken.
        timed: Whether only trials are taken that trained alone, on torch's path.
    """
    for other in sorted(path.parent for path in runs.glob(f"*/{DATABASE}")):
        if other == store.folder or not missing:
            continue
        try:
            wanted = missing
            if here is not None or timed:
                with as_written(other), Store.read(other) as source:
                    left = set(_elsewhere(source, missing, here) if here is not None else ())
                    left |= _trained_together(source, missing) if timed else set()
                wanted = [i for i in missing if i not in left]
            found = store.adopt(other, wanted)
            taken = found.ids
            with as_written(other), Store.read(other) as source:
                seen = {trial for look in source.looks() for trial in look.trials & set(taken)}
        except NoRunsError:
            continue
        except UserError as error:
            summary.unreadable[other.name] = str(error)
            continue
        missing = [i for i in missing if i not in set(taken)]
        if (why := refusals(found)) is not None:
            summary.unreadable[other.name] = why
        if taken:
            summary.adopted[other.name] = len(taken)
            if seen:  # there, and this study's claims were not declared
                store.add_look(Declaration(), seen)
    return summary
