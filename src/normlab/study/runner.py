"""Running a study: what is missing is trained, what is done stays, everything is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from normlab import data
from normlab.errors import UserError
from normlab.records import FINISHED
from normlab.store import DATABASE, Store
from normlab.study.engines import (
    Ended,
    Engine,
    EpochTrained,
    Failed,
    Message,
    Started,
    Task,
    choose,
    resolve_device,
)
from normlab.study.outline import declared
from normlab.study.owner import check_owner, origin
from normlab.study.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        planned: Trials in the plan.
        trained: Trials this run brought to an end, failed ones included.
        adopted: Finished trials taken over from other studies' folders, by folder name.
        unreadable: Other studies' folders that could not be looked into, with the reason.
        counts: Trials of the plan by state, at the end.
        failures: Last line of the traceback by trial id.
        invalid: By trial id, what did not do what it declares.
        interrupted: The run was stopped before its end.
    """

    planned: int
    trained: int = 0
    adopted: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int]
    failures: dict[str, str]
    invalid: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; no part of what a trial is.

    Attributes:
        workers: Trials trained side by side; "auto" is one per CPU core, and one on a GPU.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of each worker.
        retry_failed: Train failed trials again.
    """

    workers: int | Literal["auto"] = 1
    device: str = "auto"
    threads: int = 1
    retry_failed: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for a number of workers or threads there cannot be."""
        for name in ("workers", "threads"):
            value = getattr(self, name)
            allowed = "a whole number above 0" + (" or auto" if name == "workers" else "")
            if not (value == "auto" and name == "workers") and not (
                isinstance(value, int) and value >= 1
            ):
                raise UserError(f"{name} is {value!r}: {allowed} is allowed")


class Observer(Protocol):
    """Who wants to see a run as it goes."""

    def begin(self, tasks: Sequence[Task], workers: int) -> None:
        """Called once, before the first of `tasks` is trained on that many workers."""

    def observe(self, message: Message) -> None:
        """Called with every message of the engine, after it is stored."""


class Silent:
    """An observer that looks away."""

    def begin(self, tasks: Sequence[Task], workers: int) -> None:
        """Do nothing."""

    def observe(self, message: Message) -> None:
        """Do nothing."""


def run_plan(
    plan: Plan, runs: Path, options: RunOptions | None = None, observer: Observer | None = None
) -> Summary:
    """Train every trial of the plan that is not finished yet.

    Args:
        plan: What to train.
        runs: The folder that holds a folder for each study.
        options: How to run.
        observer: Told what happens.

    Raises:
        UserError: The data cannot be had, the device is not there, or the folder cannot be written.
    """
    options = options or RunOptions()
    device = resolve_device(options.device)
    # Read here first: data that are missing are the user's to mend, not a trial's failure, and a
    # mistake changes nothing in the store.
    for spec in dict.fromkeys(arm.recipe.data for arm in plan.arms):
        data.load(spec)
    folder = runs / plan.study.name
    rows = plan.rows()
    ids = [row.id for row in rows]
    with Store.write(folder) as store:
        check_owner(store, plan.study.file)
        _look_back(store)
        record = {**plan.as_record(), **origin(plan.study, folder)}
        store.record_plan(plan.study.name, record, rows)
        states = store.states(ids)
        # Nobody else is writing, so the process of a running trial is gone.
        again = [i for i in ids if states[i] == "running"]
        failed = [i for i in ids if states[i] == "failed"] if options.retry_failed else []
        store.release([*again, *failed])
        summary = Summary(planned=len(ids), counts={}, failures={})
        summary = _adopt(store, runs, [i for i in ids if states[i] not in FINISHED], summary)
        states = store.states(ids)
        tasks = [
            Task(trial_id=trial_id, recipe=recipe, seed=seed, folder=folder)
            for trial_id, (recipe, seed) in plan.recipes().items()
            if states[trial_id] == "pending"
        ]
        _sweep(folder, keep={task.checkpoint for task in tasks if task.trial_id not in failed})
        if tasks:
            engine = choose(
                workers=options.workers,
                device=device,
                threads=options.threads,
                trials=len(tasks),
            )
            summary = _train(store, engine, tasks, summary, observer or Silent())
        states = store.states(ids)
        counts: dict[str, int] = dict(Counter(states.values()))
        store.add_look(declared(plan.as_record()), [i for i in ids if states[i] in FINISHED])
        failed = [i for i in ids if states[i] == "failed"]
        invalid = [i for i in ids if states[i] == "invalid"]
        reasons = {row["id"]: row["reason"] for row in store.rows("trials", [*failed, *invalid])}
        return replace(
            summary,
            counts=counts,
            failures={i: reasons[i].strip().splitlines()[-1] for i in failed},
            invalid={i: reasons[i] for i in invalid},
        )


def _train(
    store: Store, engine: Engine, tasks: list[Task], summary: Summary, observer: Observer
) -> Summary:
    running: dict[str, Task] = {}
    by_id = {task.trial_id: task for task in tasks}
    ended = 0
    messages = engine.run(tasks)
    try:
        observer.begin(tasks, engine.workers)
        for message in messages:
            if isinstance(message, Started):
                running[message.trial_id] = by_id[message.trial_id]
            _keep(store, message)
            if isinstance(message, Ended | Failed):
                running.pop(message.trial_id, None)  # a worker may die before it could start
                ended += 1
            if isinstance(message, Ended):
                by_id[message.trial_id].checkpoint.unlink(missing_ok=True)
            observer.observe(message)
    except KeyboardInterrupt:
        return replace(summary, trained=ended, interrupted=True)
    finally:
        messages.close()
        store.release(running)
    return replace(summary, trained=ended)


def _keep(store: Store, message: Message) -> None:
    match message:
        case Started():
            store.start(message.trial_id, message.provenance, message.epochs)
        case EpochTrained():
            store.add_epoch(message.trial_id, message.record)
        case Ended():
            store.finish(message.trial_id, message.result, message.artifacts)
        case Failed():
            store.fail(message.trial_id, message.reason)


def _look_back(store: Store) -> None:
    """Remember what could be seen under the plan before this one, also if its run was killed."""
    try:
        before = store.plan()
    except UserError:  # the first run
        return
    ids = [trial for arm in before["arms"] for trial in arm["trials"].values()]
    finished = [i for i, state in store.states(ids).items() if state in FINISHED]
    if finished:
        store.add_look(declared(before), finished)


def _sweep(folder: Path, keep: set[Path]) -> None:
    """Remove what a killed run left: checkpoints no trial goes on from, half-written files."""
    for path in [*folder.glob("checkpoints/*"), *folder.glob("artifacts/*/*.tmp")]:
        if path not in keep:
            path.unlink()


def _adopt(store: Store, runs: Path, missing: list[str], summary: Summary) -> Summary:
    """Take finished trials over from the other studies in the same runs folder."""
    for other in sorted(path.parent for path in runs.glob(f"*/{DATABASE}")):
        if other == store.folder or not missing:
            continue
        try:
            taken = store.adopt(other, missing)
            with Store.read(other) as source:
                seen = {trial for look in source.looks() for trial in look.trials & set(taken)}
        except UserError as error:
            summary.unreadable[other.name] = str(error)
            continue
        missing = [i for i in missing if i not in set(taken)]
        if taken:
            summary.adopted[other.name] = len(taken)
            if seen:  # there, and this study's claims were not declared
                store.add_look({}, seen)
    return summary
