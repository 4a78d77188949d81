"""Trials on a few digits that train side by side, and what they left behind."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from torch import Tensor

from normlab.data import Split, Splits, splits
from normlab.recipe import Recipe
from normlab.train import EpochDone, Finished
from normlab.train.checkpoint import Checkpoint
from normlab.train.lanes.group import GroupTrial, train_group

Values = dict[str, Any]
TIMES = {"seconds", "examples_per_second"}
BASE: Values = {
    "data": "digits",
    "model": "digits-small",
    "batch_size": 48,
    "epochs": 2,
    "lr": 0.05,
}


@cache
def few() -> Splits:
    """Few digits: 110 to train on, so that the last batch is smaller, and some for each score."""
    whole = splits(Recipe.parse(BASE))

    def first(split: Split, count: int) -> Split:
        return Split(inputs=split.inputs[:count], labels=split.labels[:count])

    return replace(
        whole,
        train=first(whole.train, 110),
        validation=first(whole.validation, 20),
        test=first(whole.test, 30),
    )


def trial(
    values: Values, seed: int, resume: Checkpoint | None = None, images: Splits | None = None
) -> GroupTrial:
    """A trial of `BASE` with other values."""
    return GroupTrial(Recipe.parse({**BASE, **values}), seed, images or few(), resume)


@dataclass
class Ran:
    """What a trial came to.

    Attributes:
        epochs: Its records, without times.
        checkpoints: After each epoch.
        computes: As each epoch was told.
        end: `Finished`, or what ended it.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    computes: list[dict[str, str]] = field(default_factory=list)
    end: Finished | Exception | None = None

    def take(self, event: EpochDone | Finished | Exception) -> None:
        """The next event."""
        if isinstance(event, EpochDone):
            record = asdict(event.record)
            self.epochs.append({k: v for k, v in record.items() if k not in TIMES})
            self.checkpoints.append(copy.deepcopy(event.checkpoint))
            self.computes.append(event.computes)
        else:
            assert self.end is None
            self.end = event

    @property
    def finished(self) -> Finished:
        """Its end, if that is a whole one."""
        assert isinstance(self.end, Finished), self.end
        return self.end

    @property
    def bits(self) -> tuple[object, ...]:
        """What companions must not change: weights, statistics, optimizer, and all records."""
        last = self.checkpoints[-1]
        return (_bytes(last.model), _bytes(last.optimizer), repr(self.epochs))


def run(trials: Sequence[GroupTrial], *, probes: bool = True) -> list[Ran]:
    """Train them side by side."""
    ran = [Ran() for _ in trials]
    for number, event in train_group(trials, probes=probes):
        ran[number].take(event)
    return ran


def _bytes(state: object) -> object:
    """A state as what can be compared, NaN and the sign of 0 included."""
    if isinstance(state, Tensor):
        return state.detach().contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {key: _bytes(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_bytes(value) for value in state]
    return repr(state)
