"""What a trial costs on each engine beyond its training, and how many real trials an hour trains.

    python benchmarks/engines.py                                    # 200 trivial trials, serial and processes
    python benchmarks/engines.py --trials 10000 --rounds 1 --json benchmarks/results/engines_trivial_epyc.json
    python benchmarks/engines.py --engines serial processes ray --address auto
    python benchmarks/engines.py --study --rounds 3 --json benchmarks/results/engines_study_epyc.json
    python benchmarks/engines.py --study --images 1000 --epochs 1 --seeds 1                    # to try it

Without `--study`: the smallest trial that can be declared without code of one's own, 20 digits of 8x8, one step of
the 1,274-parameter net, in four arms. It is run as a user's is: `run_plan` with a store, a checkpoint, files and checks
on a real disk. Every run is a process of its own, and the runs take turns, `--rounds` times. Paths: `torch`, each trial by
itself (NORMLAB_LANES=0), and `lanes`, up to 16 in a worker together, which is what a plan does by itself.

- `ms`: seconds of the whole run / trials, start, imports and end included; the plan is made before;
- `worker ms`: seconds of the run without its start x workers / trials: what a trial keeps a worker for. The start
  ends as the first unit of every worker has ended. The end of the run is in it;
- `bare ms`: the same trials by `train` (or `train_group` of the same units), called in a loop in one process with nothing
  else: model, steps, liveness checks, evaluation. No file, no store, no message;
- `overhead ms`: `worker ms` - `bare ms` of the same round: checkpoint, weights, predictions and their hashes, syncs,
  messages, the store, and what the engine's processes take from one another where they are more than the cores;
- `driver cpu`, `workers cpu`: milliseconds of the processor for each trial, of the process that writes, and of the processes
  it started, their imports included; steadier than the clock where others use the machine. Ray's workers are
  not its children: nothing is known of theirs.

With `--study`: the arms of `mnist-l1-l2-gbn` (or another bundled study), trials per hour of the whole run, start included.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from timing import keep, machine

from normlab.errors import UserError
from normlab.study.engines import Task, Unit
from normlab.study.engines.machines import EngineName
from normlab.study.events import Event, RunBegan, TrialEnded
from normlab.study.files import bundled
from normlab.study.groups import units_of
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from study import Size, called, study_file

ENGINES = ("serial", "processes", "ray")
PATHS = ("torch", "lanes")
ARMS = 4
MOST_BARE = 500  # trials of the bare loop: its mean needs no more
Row = dict[str, Any]


@dataclass
class Ran:
    """What one run took.

    Attributes:
        trials: That it trained.
        workers: That trained them.
        seconds: Of the whole run, after the plan.
        start: Of them, until the first unit of every worker had ended.
        started: Trials that had ended by then.
        driver_cpu: Seconds of the processor, of the process that ran it.
        workers_cpu: Of the processes that it started.
    """

    trials: int
    workers: int
    seconds: float
    start: float = 0.0
    started: int = 0
    driver_cpu: float = 0.0
    workers_cpu: float = 0.0

    @property
    def worker_ms(self) -> float:
        """For what time a trial keeps a worker, without the start."""
        return 1000 * (self.seconds - self.start) * self.workers / (self.trials - self.started)


class Watch:
    """Notes when every worker had ended its first unit."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.started, self.start, self.first = 0, 0.0, 1

    def __call__(self, event: Event) -> None:
        """A run's event."""
        if isinstance(event, RunBegan):
            self.first = event.workers * event.together
        elif isinstance(event, TrialEnded) and self.started < self.first:
            self.started += 1
            self.start = time.perf_counter() - self.begun


def trivial(trials: int) -> Study:
    """So many of the smallest trials."""
    return Study.parse(
        {
            "name": "trivial",
            "question": "What does a trial cost beyond its training?",
            "base": {
                "data": {"kind": "digits", "limit": 2, "test_limit": 1},
                "model": "digits-small",
                "epochs": 1,
                "validation": 0,
            },
            "factors": {"norm": ["none", "batch"], "lr": [0.05, 0.1]},
            "seeds": trials // ARMS,
        }
    )


def options(engine: EngineName, workers: int, address: str) -> RunOptions:
    """How to run on an engine."""
    return RunOptions(
        engine=engine,
        workers=1 if engine == "serial" else workers,
        device="cpu",
        address=address if engine == "ray" else None,
    )


def by_engine(study: Study, engine: EngineName, workers: int, address: str, folder: Path) -> Ran:
    """A whole run of a study in this process."""
    chosen, plan = options(engine, workers, address), make_plan(study)
    before, watch = os.times(), Watch()
    summary = run_plan(plan, folder, chosen, watch)
    seconds, after = time.perf_counter() - watch.begun, os.times()
    if summary.counts != {"complete": len(plan.trials)}:
        raise UserError(f"not all trials are complete: {summary.counts}")
    return Ran(
        trials=len(plan.trials),
        workers=1 if engine == "serial" else workers,
        seconds=seconds,
        start=watch.start,
        started=watch.started,
        driver_cpu=after.user + after.system - before.user - before.system,
        workers_cpu=after.children_user
        + after.children_system
        - before.children_user
        - before.children_system,
    )


def bare(study: Study, workers: int) -> Ran:
    """Trials of a study by nothing but the training loop, after a first round of it."""
    import torch

    from normlab.data import splits
    from normlab.train import keep_freed_memory, lanes, train

    torch.set_num_threads(1)
    keep_freed_memory()
    units = units_of_plan(make_plan(study), workers)
    units = units[:: max(1, sum(map(len, units)) // MOST_BARE)]

    def once() -> None:
        for unit in units:
            given = [(task.recipe, task.seed, splits(task.recipe)) for task in unit]
            if unit[0].together:
                for _ in lanes.train_group([lanes.GroupTrial(*each) for each in given]):
                    pass
            else:
                for _ in train(*given[0]):
                    pass

    once()
    begun, cpu = time.perf_counter(), time.process_time()
    once()
    seconds = time.perf_counter() - begun
    return Ran(sum(map(len, units)), 1, seconds, driver_cpu=time.process_time() - cpu)


def units_of_plan(plan: Plan, workers: int) -> list[Unit]:
    """The units of work that a run of a plan has."""
    tasks = [
        Task(trial_id=t.id, recipe=t.arm.recipe, seed=t.seed, folder=Path())
        for t in plan.trials.values()
    ]
    return units_of(tasks, "cpu", workers, timed=False)


def child(given: dict[str, Any]) -> Ran:
    """What a process of its own does: one run in a fresh folder."""
    size = given["size"]
    with tempfile.TemporaryDirectory(dir=given["folder"]) as folder:
        if size is None:
            study = trivial(given["trials"])
        else:
            study = Study.load(study_file(Size(**size), Path(folder)))
        if given["engine"] == "bare":
            return bare(study, given["workers"])
        runs = Path(folder) / "runs"
        return by_engine(study, given["engine"], given["workers"], given["address"], runs)


def in_process(given: dict[str, Any], *, lanes: bool) -> Ran:
    """A run in a process of its own.

    Raises:
        RuntimeError: It failed; the last line of what it said.
    """
    words = [sys.executable, __file__, "--child", json.dumps(given)]
    switch = {} if lanes else {"NORMLAB_LANES": "0"}
    said = called(words, env={**os.environ, **switch})
    return Ran(**json.loads(said.strip().splitlines()[-1]))


def rounds(
    given: argparse.Namespace, names: list[str], paths: list[str], size: dict[str, Any] | None
) -> dict[tuple[str, str], list[Ran]]:
    """Every engine on every path, in turns; one that cannot run is left out, with a word."""
    found: dict[tuple[str, str], list[Ran]] = {(e, p): [] for p in paths for e in names}
    for _ in range(given.rounds):
        for engine, path in list(found):
            asked = {
                "engine": engine,
                "trials": given.trials,
                "workers": given.workers,
                "address": given.address,
                "folder": given.folder and str(given.folder),
                "size": size,
            }
            try:
                ran = in_process(asked, lanes=path == "lanes")
            except RuntimeError as error:
                print(f"{engine}, {path} is left out: {error}", flush=True)
                del found[engine, path]
                continue
            found[engine, path].append(ran)
            print(f"{engine}, {path}: {ran.trials} trials, {ran.seconds:.1f} s", flush=True)
    return found


def trivial_row(engine: str, path: str, ran: list[Ran], alone: list[Ran]) -> Row:
    """A line of the table of trivial trials: medians over rounds."""

    def each(of: list[float]) -> float:
        return round(median(of), 2)

    over = [a.worker_ms - b.worker_ms for a, b in zip(ran, alone, strict=False)]
    return {
        "engine": engine,
        "path": path,
        "trials": ran[0].trials,
        "workers": ran[0].workers,
        "start_s": each([r.start for r in ran]),
        "ms": each([1000 * r.seconds / r.trials for r in ran]),
        "worker_ms": each([r.worker_ms for r in ran]),
        "bare_ms": each([b.worker_ms for b in alone]) if alone else None,
        "bare_cpu_ms": each([1000 * b.driver_cpu / b.trials for b in alone]) if alone else None,
        "overhead_ms": each(over) if over else None,
        "driver_cpu_ms": each([1000 * r.driver_cpu / r.trials for r in ran]),
        "workers_cpu_ms": each([1000 * r.workers_cpu / r.trials for r in ran]),
    }


def study_row(engine: str, path: str, ran: list[Ran], serial: list[Ran]) -> Row:
    """A line of the table of a study."""
    ratios = [a.seconds / b.seconds for a, b in zip(ran, serial, strict=False)]
    return {
        "engine": engine,
        "path": path,
        "trials": ran[0].trials,
        "workers": ran[0].workers,
        "start_s": round(median(r.start for r in ran), 1),
        "seconds": round(median(r.seconds for r in ran), 1),
        "trials_per_hour": round(3600 * ran[0].trials / median(r.seconds for r in ran), 1),
        "over_serial": round(median(ratios), 2) if ratios else None,
    }


def show(rows: list[Row]) -> None:
    """Print rows of one kind."""
    if not rows:
        return
    words = [name.replace("_", " ") for name in rows[0]]
    print("\n" + "".join(f"{word:>{max(10, len(word) + 2)}}" for word in words))
    for row in rows:
        cells = ["-" if value is None else str(value) for value in row.values()]
        print("".join(f"{c:>{max(10, len(w) + 2)}}" for c, w in zip(cells, words, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Overhead of a trial, and trials per hour.")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["serial", "processes"])
    parser.add_argument("--workers", type=int, default=2, help="of processes and Ray")
    parser.add_argument("--address", default="auto", help="of the Ray cluster")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paths", nargs="+", choices=PATHS, help="default: both, a study lanes")
    parser.add_argument("--folder", type=Path, help="of the runs: which disk; default: /tmp")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--trials", type=int, default=200, help="trivial ones, a multiple of 4")
    study = parser.add_argument_group("a real study instead")
    study.add_argument(
        "--study", nargs="?", const="mnist-l1-l2-gbn", choices=bundled(), help="a bundled one"
    )
    study.add_argument("--images", type=int, default=6_000, help="for training")
    study.add_argument("--test-images", type=int, default=10_000)
    study.add_argument("--epochs", type=int, default=3)
    study.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(asdict(child(json.loads(given.child)))))
        return
    # All of the first units belong to the start: there must be trials after them.
    least = 16 * given.workers
    if given.trials <= least or given.trials % ARMS:
        parser.error(f"--trials is a multiple of {ARMS} above {least}")
    given.threads = 1
    print(" ".join(filter(None, machine().values())), f"{os.cpu_count()} cores")
    if given.study:
        arms = [arm.label or "" for arm in Study.load(given.study).arms]
        size = Size(
            *(arms, given.seeds, given.epochs, given.images, given.test_images),
            *(given.workers, given.study),
        )
        found = rounds(given, given.engines, given.paths or ["lanes"], asdict(size))
        rows = [study_row(e, p, ran, found.get(("serial", p), [])) for (e, p), ran in found.items()]
    else:
        found = rounds(given, ["bare", *given.engines], given.paths or list(PATHS), None)
        rows = [
            trivial_row(e, p, ran, found.get(("bare", p), []))
            for (e, p), ran in found.items()
            if e != "bare"
        ]
    show(rows)
    keep(rows, given)


if __name__ == "__main__":
    main()
