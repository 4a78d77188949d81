"""A whole study by `normlab run` beside the same trials as scripts, by joblib and by Ray Tune.

    python benchmarks/study.py                                  # 6 arms x 4 seeds x 3 epochs, 10,000 images
    python benchmarks/study.py --images 1000 --seeds 2 --schemes normlab scripts-side-by-side
    python benchmarks/study.py --seeds 16 --images 60000 --epochs 2     # what lanes do for a study of many seeds
    python benchmarks/study.py --study mnist-norms --seeds 16 --schemes normlab normlab-torch
    python benchmarks/study.py --json benchmarks/results/study_epyc.json

The arms of a bundled study, as a rule the six of `mnist-l1-l2-gbn`: batch norm and ghost batch norm of the 7,288-parameter net with
and without L1 and L2. normlab trains them with its workers, one thread each, checks them, tests after every
epoch, stores, and writes the report, all of which is in its time. The others run `mnist_script.py`: a plain loop
over a DataLoader that tests after every epoch and stores weights, predictions and a line an epoch, and makes no
report:

- `normlab-torch`: normlab with its lanes switched off (NORMLAB_LANES=0): each trial by itself, on torch's path;
- `scripts-in-turn`: a process for each trial, one after the other, with 1 and with 2 threads; the better counts. The
  scripts know the arms of `mnist-l1-l2-gbn` alone; with another study they are left out;
- `scripts-side-by-side`: as many processes at a time as normlab has workers, one thread each;
- `joblib`, `ray`: the same function in their processes, one thread each.

Every way runs in processes of its own, one way after the other, and all of them `--rounds` times. Shown are
trials per hour, the median ratio of the whole time to normlab's of the same round, and the peak of the memory of all
its processes together (pages that they share are counted once). `start` is what its smallest study took: one
trial of one step, that is imports, starting, the first step and, for normlab, the report; the last ratio leaves it out.
`accuracy` is the mean of the trials' last test accuracy: all ways train the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import yaml
from timing import keep, machine

import normlab
from normlab.data import load
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.study.files import bundled
from normlab.study.spec import Study

HERE = Path(__file__).parent
STUDY = "mnist-l1-l2-gbn"
Row = dict[str, Any]


@dataclass
class Size:
    """How much is trained: arms by label, seeds, epochs, images of training and test, workers, study."""

    arms: list[str]
    seeds: int
    epochs: int
    images: int
    test_images: int
    workers: int
    study: str = STUDY

    @property
    def trials(self) -> int:
        """Of the whole study."""
        return len(self.arms) * self.seeds


@dataclass
class Ran:
    """What a way took: seconds, bytes at the peak, and the last test accuracy of each trial."""

    seconds: float
    peak: int
    accuracies: list[float] = field(default_factory=list)


def smallest(size: Size) -> Size:
    """One trial of about one step."""
    few = {"images": min(size.images, 100), "test_images": min(size.test_images, 100)}
    return replace(size, arms=size.arms[:1], seeds=1, epochs=1, **few)


class Memory(threading.Thread):
    """Watches the memory of a process and all that it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self) -> None:
        """Look five times a second."""
        while not self.ended.wait(0.2):
            self.peak = max(self.peak, _used())


def _used() -> int:
    import psutil

    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            found = process.memory_full_info()
            total += getattr(found, "pss", found.rss)
        except psutil.Error:  # it has ended
            continue
    return total


def watched(run: Callable[[], object]) -> Ran:
    """Seconds and memory of what this process starts."""
    memory = Memory()
    memory.start()
    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    memory.ended.set()
    memory.join()
    return Ran(seconds, memory.peak)


def called(words: list[str], **more: Any) -> str:
    """Run a command to its end; what it wrote to standard output.

    Raises:
        RuntimeError: It failed; the last line of what it said.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{' '.join(words[1:3])}: {said[-1] if said else done.returncode}")
    return done.stdout


def study_file(size: Size, folder: Path) -> Path:
    """The study of so much, without its claims, as a file."""
    study = Study.load(size.study)
    arms = [arm.model_dump(mode="json", exclude_defaults=True) for arm in study.arms]
    values = {
        "question": study.question,
        "base": {
            **study.base,
            "epochs": size.epochs,
            "data": {"kind": kind_of_data(size), **limits(size)},
        },
        "arms": [arm for arm in arms if arm["label"] in size.arms],
        "seeds": size.seeds,
    }
    path = folder / "timed.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def kind_of_data(size: Size) -> str:
    """The data set of the study."""
    data = Study.load(size.study).base["data"]
    return str(data["kind"] if isinstance(data, dict) else data)


def limits(size: Size) -> dict[str, int]:
    """Images of a class."""
    return {"limit": max(1, size.images // 10), "test_limit": max(1, size.test_images // 10)}


def by_normlab(size: Size, folder: Path, *, lanes: bool = True) -> Ran:
    """`normlab run`, its report included."""
    switch = {} if lanes else {"NORMLAB_LANES": "0"}
    path = study_file(size, folder)
    words = [sys.executable, "-m", "normlab", "run", str(path), "--workers", str(size.workers)]
    words += ["--runs", str(folder / "runs")]
    ran = watched(lambda: called(words, env={**os.environ, **switch}))
    epochs = normlab.results(Study.load(path), runs=folder / "runs").epochs
    last = epochs[epochs["epoch"] == epochs["epoch"].max()]
    ran.accuracies = (100 * last["test_accuracy"]).tolist()
    return ran


def plain_trials(size: Size, folder: Path, threads: int) -> list[dict[str, Any]]:
    """The arguments of each trial of the plain script; its images are written beside.

    Raises:
        UserError: The script knows the arms of one study.
    """
    if size.study != STUDY:
        raise UserError(f"the scripts do not know the arms of {size.study}")
    dataset = load(
        Recipe.parse({"data": {"kind": "mnist", **limits(size)}, "model": "mnist-7288"}).data
    )
    images = folder / "images.npz"
    np.savez(
        images,
        train_images=dataset.train_images[:, 0],
        train_labels=dataset.train_labels,
        test_images=dataset.test_images[:, 0],
        test_labels=dataset.test_labels,
    )
    return [
        {
            "arm": arm,
            "seed": seed,
            "images": str(images),
            "epochs": size.epochs,
            "out": str(folder / f"{number}-{seed}"),
            "threads": threads,
        }
        for number, arm in enumerate(plain_arms(size))
        for seed in range(size.seeds)
    ]


def plain_arms(size: Size) -> list[dict[str, Any]]:
    """The arms in the plain script's words, read off the study."""
    found = []
    for arm in Study.load(STUDY).arms:
        if arm.label not in size.arms:
            continue
        recipe = Recipe.parse({"data": "mnist", "model": "mnist-7288", **dict(arm.set)})
        words: dict[str, Any] = {"batch_size": recipe.batch_size}
        if recipe.norm.kind == "ghost_batch":
            words["splits"] = recipe.norm.options["splits"]
        words |= {name: getattr(recipe, name).strength for name in ("l1", "l2")}
        found.append(words)
    return found


def by_scripts(size: Size, folder: Path, *, threads: int, at_once: int) -> Ran:
    """A process for each trial, so many at a time."""
    trials = plain_trials(size, folder, threads)

    def run() -> None:
        waiting, running = list(trials), []
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(subprocess.Popen(script(waiting.pop(0)), stdout=subprocess.DEVNULL))
            time.sleep(0.01)
            for process in [p for p in running if p.poll() is not None]:
                if process.returncode:
                    raise RuntimeError(f"mnist_script.py ended with {process.returncode}")
                running.remove(process)

    return with_accuracies(watched(run), trials)


def script(trial: dict[str, Any]) -> list[str]:
    """The command of a trial."""
    words = [sys.executable, str(HERE / "mnist_script.py")]
    for name, value in trial.items():
        words += [f"--{name}", json.dumps(value) if name == "arm" else str(value)]
    return words


def by_peer(name: str, size: Size, folder: Path) -> Ran:
    """By joblib or Ray Tune."""
    trials = plain_trials(size, folder, 1)
    listed = folder / "trials.json"
    listed.write_text(json.dumps(trials))
    words = [sys.executable, str(HERE / "study_peers.py"), name, str(listed), str(size.workers)]
    return with_accuracies(watched(lambda: called(words)), trials)


def with_accuracies(ran: Ran, trials: list[dict[str, Any]]) -> Ran:
    """What the trials stored."""
    for trial in trials:
        lines = Path(trial["out"], "epochs.jsonl").read_text().splitlines()
        ran.accuracies.append(100 * json.loads(lines[-1])["test_accuracy"])
    return ran


WAYS: dict[str, Callable[[Size, Path], Ran]] = {
    "normlab": by_normlab,
    "normlab-torch": lambda size, at: by_normlab(size, at, lanes=False),
    "scripts-in-turn, 1 thread": lambda size, at: by_scripts(size, at, threads=1, at_once=1),
    "scripts-in-turn, 2 threads": lambda size, at: by_scripts(size, at, threads=2, at_once=1),
    "scripts-side-by-side": lambda size, at: by_scripts(size, at, threads=1, at_once=size.workers),
    "joblib": lambda size, at: by_peer("joblib", size, at),
    "ray": lambda size, at: by_peer("ray", size, at),
}
"""name -> runs the whole study in a folder."""


def once(way: str, size: Size) -> Ran | None:
    """A way in a fresh folder; None, with a word, where it cannot be run."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return WAYS[way](size, Path(folder))
        except (RuntimeError, UserError) as error:
            print(f"{way} is left out: {error}", flush=True)
            return None


def row(way: str, size: Size, found: dict[str, list[Ran]], starts: dict[str, float]) -> Row:
    """A line of the table."""
    ran, start = found[way], starts[way]
    ours, our_start = found.get("normlab", []), starts.get("normlab", 0.0)
    seconds = median(r.seconds for r in ran)
    ratios = [a.seconds / b.seconds for a, b in zip(ran, ours, strict=False)]
    warm = [(a.seconds - start) / (b.seconds - our_start) for a, b in zip(ran, ours, strict=False)]
    return {
        "way": way,
        "seconds": round(seconds, 1),
        "trials_per_hour": round(3600 * size.trials / seconds, 1),
        "start_s": round(start, 1),
        "peak_mib": round(max(r.peak for r in ran) / 2**20),
        "accuracy": round(mean(a for r in ran for a in r.accuracies), 2),
        "over_normlab": round(median(ratios), 2) if ours else None,
        "over_normlab_without_start": round(median(warm), 2) if ours else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A whole study beside plain scripts, joblib, Ray Tune."
    )
    parser.add_argument("--study", choices=bundled(), default=STUDY)
    parser.add_argument("--images", type=int, default=10_000, help="for training")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--arms", nargs="+", help="labels of those that are trained")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--schemes", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    given.threads = 1
    labels = [arm.label or "" for arm in Study.load(given.study).arms]
    if unknown := set(given.arms or ()) - set(labels):
        parser.error(f"{given.study} has no arm {', '.join(sorted(unknown))}: {', '.join(labels)}")
    size = Size(
        given.arms or labels,
        *(given.seeds, given.epochs, given.images, given.test_images, given.workers),
        given.study,
    )
    print(
        " ".join(filter(None, machine().values())),
        f"{size.workers} workers,",
        f"{size.trials} trials",
    )
    starts: dict[str, float] = {}
    found: dict[str, list[Ran]] = {}
    for way in given.schemes:
        if (ran := once(way, smallest(size))) is not None:
            starts[way], found[way] = ran.seconds, []
    for _ in range(given.rounds):
        for way in list(found):
            if (ran := once(way, size)) is None:
                del found[way]
                continue
            found[way].append(ran)
            print(f"{way}: {ran.seconds:.1f} s", flush=True)
    rows = [row(way, size, found, starts) for way in found]
    print(
        f"\n{'way':30}{'trials/h':>10}{'/ normlab':>11}{'no start':>10}{'start s':>9}{'MiB':>7}{'accuracy':>10}"
    )
    for line in rows:
        beside = (line["over_normlab"] or 0, line["over_normlab_without_start"] or 0)
        print(
            f"{line['way']:30}{line['trials_per_hour']:>10.1f}{beside[0]:>11.2f}{beside[1]:>10.2f}"
            f"{line['start_s']:>9.1f}{line['peak_mib']:>7}{line['accuracy']:>10.2f}"
        )
    keep(rows, given)


if __name__ == "__main__":
    main()
