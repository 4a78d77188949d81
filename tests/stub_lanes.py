"""Lanes as the engines see them, without lanes: every trial trains on torch's path, in turn.

Workers get the stub by `worker`, which takes the place of what a worker process does. What it did
is written to the file named by STUB_LOG: for each group the seeds and the epochs behind them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.data import Splits
from normlab.recipe import Recipe
from normlab.study import groups
from normlab.study.engines import processes, work
from normlab.train import Checkpoint, EpochDone, Finished, train

if TYPE_CHECKING:
    import pytest

SIZE = 16
GAINS = {4: 1.5, 8: 2.5, 16: 4.0}


@dataclass(frozen=True)
class Form:
    name: str


@dataclass(frozen=True, kw_only=True)
class GroupTrial:
    recipe: Recipe
    seed: int
    splits: Splits
    resume: Checkpoint | None = None


def form(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, n_train: int, device: str
) -> Form | str:
    if recipe.norm.kind == "layer":
        return "no lanes for layer norm"
    kinds = f"{recipe.model.kind} {recipe.norm.kind}"
    return Form(f"{kinds} {recipe.batch_size} {shape} {num_classes} {n_train} {device}")


def size() -> int:
    return SIZE


def gain(form: Form, trials: int) -> float:
    """As programs of 4, 8 and 16 lanes are: unused lanes cost as much as used ones."""
    lanes = next(each for each in (4, 8, 16) if each >= trials)
    return GAINS[lanes] * trials / lanes


def train_group(
    trials: Sequence[GroupTrial], *, device: str, probes: bool
) -> Iterator[tuple[int, EpochDone | Finished | Exception]]:
    note(trials)
    # STUB_ENDS: "kill 3" ends a group of 3 or more, "raise 2" the trials of seed 2, "group 2" the
    # group that has seed 2, "memory 3" groups of 3 or more.
    how, _, number = os.environ.get("STUB_ENDS", "none 0").partition(" ")
    at = int(number)
    if how == "memory" and len(trials) >= at:
        raise MemoryError("no room for it")
    runs = {
        index: train(
            one.recipe, one.seed, one.splits, device=device, resume=one.resume, probes=probes
        )
        for index, one in enumerate(trials)
    }
    together = {"together": str(len(runs))}
    epochs = 0
    while runs:
        for index, run in list(runs.items()):
            seed = trials[index].seed
            if how == "raise" and seed == at and epochs:
                del runs[index]
                yield index, planted()
                continue
            event = next(run)
            if isinstance(event, Finished):
                del runs[index]
            yield index, replace(event, computes={**event.computes, **together})
        epochs += 1
        if how == "kill" and len(trials) >= at:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "group" and at in [one.seed for one in trials]:
            raise ArithmeticError("planted")


def planted() -> Exception:
    try:
        return ZeroDivisionError(1 // 0)
    except ZeroDivisionError as error:
        return error


def note(trials: Sequence[GroupTrial]) -> None:
    if "STUB_LOG" in os.environ:
        line = {one.seed: len(one.resume.history) if one.resume else 0 for one in trials}
        with Path(os.environ["STUB_LOG"]).open("a") as file:
            file.write(json.dumps(line) + "\n")


def worker(*given: Any) -> None:
    """What a worker process does, with the stub in place of lanes."""
    work.lanes = sys.modules[__name__]  # type: ignore[attr-defined]
    processes._work(*given)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the place of `normlab.train.lanes` in this process and in its workers."""
    for module in (work, groups):
        monkeypatch.setattr(module, "lanes", sys.modules[__name__])
    monkeypatch.setattr(processes, "_work", worker)
