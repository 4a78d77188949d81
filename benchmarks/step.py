"""One training step of every bundled model: normlab beside loops in plain PyTorch, Lightning, Keras on JAX.

    python benchmarks/step.py                                   # every model, every side, one thread
    python benchmarks/step.py --models mnist-7288 resnet --sides plain tensors --seconds 30
    python benchmarks/step.py --json benchmarks/results/step_epyc_threads1.json
    python benchmarks/step.py --check                           # accuracies after a short training instead

normlab is its real training loop, `normlab.train.train`, with everything that it does in a step. Beside it:

- `plain`: a `DataLoader` over pictures transformed one by one, `torch.nn`, eager; 0, 1 and 2 workers, for
  ResNet-50 in both layouts, for bfloat16 also in float32;
- `tensors`: a well-written loop: images in one tensor, both layouts, fused and foreach optimizers;
- `lightning`: `Trainer.fit` over the plain loop's DataLoader, 0 and 1 workers;
- `keras`: `Model.fit` of Keras 3 on JAX, in a process of its own, on arrays in memory (with transforms:
  over the same pictures).

Networks, first weights, batch, optimizer, learning rate and loss are the same: the nets are made from
normlab's (`plain_nets.py`), those of Keras from these. Images are made up, of the data set's size; source C's
transforms are per picture in PIL, in `tensors` per batch. The sides run in turn, a window each, and a window is
an epoch of some steps by the side's own clock, its start and its workers' included. The first window of each
is not counted. After two rounds, variants of a side that take a quarter more than its best one are left out.
A row shows milliseconds of normlab's step, and for each side its best variant with the median of its ratio
to normlab's window of the same round: above 1 normlab is faster. All torch sides keep freed memory, as
normlab's workers do. A side that could not be run is named, with the reason.

On a machine that others use, `--clock cpu` takes the seconds of the side's process on a processor instead of those
on the wall. Those of a DataLoader's workers are not among them, as if each had a core of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import torch
from plain_loops import LAYOUTS, Training, batched, loader, loader_epoch, tensor_epoch
from plain_nets import UnknownLayerError, plain_net
from step_cases import CLOCKS, Case, Made, cases, made
from timing import begin, keep, options
from torch import nn

from normlab.models import MODELS
from normlab.train import EpochDone, train

Window = Callable[[], float]
"""Runs some steps and returns the seconds of one."""

SIDES = ("plain", "tensors", "lightning", "keras")
MUCH_SLOWER = 1.25
TRIAL = (50_000, 100)
"""Images of an epoch, and epochs, of the trial whose hours are said."""
Row = dict[str, Any]


class Child:
    """A side in a process of its own, which works when it is told to."""

    def __init__(self, *words: str) -> None:
        here = Path(__file__).parent
        self.process = subprocess.Popen(
            [sys.executable, str(here / "keras_side.py"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> Any:
        """The next line that it writes.

        Raises:
            RuntimeError: It has ended; the last line of its error.
        """
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip().splitlines()
            raise RuntimeError(said[-1] if said else "it has ended without a word")
        return json.loads(line)

    def __call__(self) -> float:
        """A window."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        return float(self.answer())

    def close(self) -> None:
        """End it. Closing its input would not: the workers of a DataLoader hold it too."""
        self.process.terminate()
        self.process.wait()


def ours(case: Case, images: Made, clock: str) -> Window:
    """The real training loop, an epoch at a time."""
    events = train(case.recipe, 0, images.splits(case.classes))

    def window() -> float:
        begun = time.process_time()
        done = next(events)
        if not isinstance(done, EpochDone):
            raise TypeError(f"{case.name} has ended: {done.result.reason or done.result.state}")
        # The processor's seconds have the test of two images in them, the epoch's own have not.
        seconds = time.process_time() - begun if clock == "cpu" else done.record.seconds
        return seconds / case.steps

    return window


def clocked(run: Callable[[], object], steps: int, clock: str) -> Window:
    """A window of a loop without a clock of its own."""
    now = CLOCKS[clock]

    def window() -> float:
        begun = now()
        run()
        return (now() - begun) / steps

    return window


class Sides:
    """The windows of a case's sides, by (side, variant).

    Nets are shared: a variant trains on where the other of its layout has stopped.
    """

    def __init__(self, case: Case, images: Made, threads: int, clock: str) -> None:
        self.case, self.images, self.threads, self.clock = case, images, threads, clock
        self.children: list[Child] = []
        self.nets: dict[str, nn.Module] = {}
        own = case.recipe.precision
        self.precisions = dict.fromkeys((own, "float32"))
        # As people write it: one layout; only for the large nets the better one is sought.
        large = case.recipe.model.kind.startswith("resnet50")
        self.layouts = tuple(LAYOUTS) if large else ("contiguous",)

    def net(self, layout: str) -> nn.Module:
        """The plain net in a layout."""
        if layout not in self.nets:
            net = plain_net(self.case.recipe, self.case.shape, self.case.classes)
            self.nets[layout] = net.to(memory_format=LAYOUTS[layout])
        return self.nets[layout]

    def of(self, side: str) -> Iterator[tuple[str, Window]]:
        """The variants of a side."""
        yield from getattr(self, f"_{side}")()

    def close(self) -> None:
        """End what runs beside."""
        for child in self.children:
            child.close()

    def _trainings(self, layouts: tuple[str, ...]) -> Iterator[tuple[str, Training]]:
        for precision in self.precisions:
            for layout in layouts:
                name = layout if len(self.precisions) == 1 else f"{layout} {precision}"
                yield name, self.case.training(layout, precision)

    def _plain(self) -> Iterator[tuple[str, Window]]:
        case, pictures = self.case, self.images.pictures(self.case.augment)
        for name, training in self._trainings(self.layouts):
            net = self.net(training.layout)
            optimizer = training.made(net)
            for workers in (0, 1, 2) if training.precision == case.recipe.precision else (0,):
                batches = loader(pictures, case.recipe.batch_size, workers=workers)
                run = partial(loader_epoch, net, batches, optimizer, training)
                yield f"{workers} workers, {name}", clocked(run, case.steps, self.clock)

    def _tensors(self) -> Iterator[tuple[str, Window]]:
        case = self.case
        images = torch.from_numpy(self.images.scaled)
        labels = torch.from_numpy(self.images.labels)
        splits = self.images.splits(case.classes)
        low, high = torch.from_numpy(splits.low), torch.from_numpy(splits.high)
        augment = batched(case.augment, low, high) if case.augment else None
        for name, training in self._trainings(tuple(LAYOUTS)):
            net = self.net(training.layout)
            for form in ("fused", "foreach"):
                optimizer = training.made(net, **{form: True})
                run = partial(
                    tensor_epoch, net, images, labels, optimizer, training,
                    batch_size=case.recipe.batch_size, augment=augment,
                )  # fmt: skip
                yield f"{form}, {name}", clocked(run, case.steps, self.clock)

    def _lightning(self) -> Iterator[tuple[str, Window]]:
        from lightning_side import fitted

        case, pictures = self.case, self.images.pictures(self.case.augment)
        for layout in self.layouts:
            for workers in (0, 1):
                batches = loader(pictures, case.recipe.batch_size, workers=workers)
                training = case.training(layout, case.recipe.precision)
                window = fitted(self.net(layout), batches, training, case.steps, CLOCKS[self.clock])
                yield f"{workers} workers, {layout}", window

    def _keras(self) -> Iterator[tuple[str, Window]]:
        child = Child(self.case.name, str(self.threads), self.clock, str(self.case.steps))
        self.children.append(child)
        yield "fit", child


def in_windows(
    sides: dict[tuple[str, str], Window], seconds: float, least: int = 3
) -> dict[tuple[str, str], list[float]]:
    """Seconds of a step of each variant in each round; those left out have two rounds.

    Args:
        sides: What is timed, normlab's first.
        seconds: What all rounds together may take.
        least: Rounds at least.
    """
    for window in sides.values():
        window()
    begun, rounds = time.perf_counter(), 0
    times: dict[tuple[str, str], list[float]] = {key: [] for key in sides}
    left = list(sides)
    while rounds < least or time.perf_counter() - begun < seconds:
        for key in left:
            times[key].append(sides[key]())
        rounds += 1
        if rounds == 2:
            left = [key for key in left if _near_the_best(key, times)]
        left.append(left.pop(0))  # each runs behind another one in turn
    return times


def _near_the_best(key: tuple[str, str], times: dict[tuple[str, str], list[float]]) -> bool:
    best = min(min(taken) for (side, _), taken in times.items() if side == key[0])
    return min(times[key]) <= MUCH_SLOWER * best


def measure(case: Case, wanted: list[str], given: argparse.Namespace) -> Row:
    """A row: normlab's step, and each side's best variant beside it."""
    images = made(case)
    made_sides = Sides(case, images, given.threads, given.clock)
    windows: dict[tuple[str, str], Window] = {("normlab", ""): ours(case, images, given.clock)}
    absent: dict[str, str] = {}
    try:
        for side in wanted:
            try:
                windows |= {(side, name): window for name, window in made_sides.of(side)}
            except ImportError as error:
                absent[side] = f"not installed ({error.name})"
            except (RuntimeError, UnknownLayerError) as error:
                absent[side] = str(error)
        times = in_windows(windows, given.seconds)
    finally:
        made_sides.close()
    base = times["normlab", ""]
    row: Row = {
        "case": case.name,
        "model": case.recipe.model.kind,
        "batch": case.recipe.batch_size,
        "precision": case.recipe.precision,
        "transforms": [spec["kind"] for spec in case.augment],
        "steps": case.steps,
        "clock": given.clock,
        "rounds": len(base),
        "normlab_ms": round(1000 * median(base), 2),
        "absent": absent,
    }
    for side in wanted:
        mine = {name: taken for (group, name), taken in times.items() if group == side}
        if mine:
            row[side] = beside(mine, base)
    if case.recipe.model.kind.startswith("resnet50"):
        row["hours"] = {
            name: hours(case, ms)
            for name, ms in (
                ("normlab", row["normlab_ms"]),
                *((side, row[side]["ms"]) for side in wanted if side in row),
            )
        }
    return row


def beside(variants: dict[str, list[float]], base: list[float]) -> Row:
    """A side's best variant, its ratios to normlab's windows, and what each variant took."""
    whole = {name: taken for name, taken in variants.items() if len(taken) == len(base)}
    best = min(whole, key=lambda name: median(whole[name]))
    ratios = sorted(a / b for a, b in zip(whole[best], base, strict=True))
    return {
        "best": best,
        "ms": round(1000 * median(whole[best]), 2),
        "ratio": round(median(ratios), 3),
        "least": round(ratios[0], 3),
        "most": round(ratios[-1], 3),
        "variants_ms": {name: round(1000 * median(taken), 2) for name, taken in variants.items()},
    }


def hours(case: Case, milliseconds: float) -> float:
    """Of the steps of one trial of 100 epochs of 50,000 images; evaluation is not in it."""
    images, epochs = TRIAL
    return round(milliseconds / 3.6e6 * epochs * ceil(images / case.recipe.batch_size), 2)


def text(row: Row) -> Iterator[str]:
    """A row as it is printed."""
    columns = "".join(
        f"{row[side]['ratio']:>10.2f}" if side in row else f"{'-':>10}" for side in SIDES
    )
    yield f"{row['case']:48}{row['batch']:>6}{row['normlab_ms']:>10.2f}{columns}{row['rounds']:>7}"
    for side in SIDES:
        if side in row:
            found = row[side]
            yield f"    {side}: {found['best']}, {found['ms']:.2f} ms, {found['least']:.2f} to {found['most']:.2f}"
        elif side in row["absent"]:
            yield f"    {side}: {row['absent'][side]}"
    if "hours" in row:
        said = ", ".join(f"{name} {value:.1f}" for name, value in row["hours"].items())
        yield f"    hours of the steps of 100 epochs of 50,000 images: {said}"


def main() -> None:
    parser = options("A training step of every bundled model beside its peers, as ratios.", 0)
    parser.add_argument("--models", nargs="+", choices=list(MODELS))
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"))
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seconds", type=float, default=120, help="for a row, about")
    parser.add_argument("--steps", type=int, help="of a window; else as many as its model needs")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--check", action="store_true", help="accuracies after a short training")
    parser.add_argument("--images", type=int, default=6000, help="for --check: at most so many")
    parser.set_defaults(threads=1)
    given = parser.parse_args()
    begin(given)
    if given.check:
        from step_accuracy import check

        keep(check(given.models or ["mnist-7288", "resnet"], given.images), given)
        return
    print(
        f"{'step':48}{'batch':>6}{'ours, ms':>10}{''.join(f'{side:>10}' for side in SIDES)}{'rounds':>7}"
    )
    rows = []
    for case in cases(given.models):
        if given.precisions and case.recipe.precision not in given.precisions:
            continue
        rows.append(measure(replace(case, steps=given.steps or case.steps), given.sides, given))
        print(*text(rows[-1]), sep="\n", flush=True)
        keep(rows, given)


if __name__ == "__main__":
    main()
