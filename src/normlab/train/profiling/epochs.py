"""Short epochs of a training, in turn undisturbed and on clocks of growing detail."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch

from normlab.data import Splits
from normlab.recipe import Recipe
from normlab.train.checkpoint import Checkpoint
from normlab.train.loop import Finished, Trainer
from normlab.train.marks import Marks
from normlab.train.profiling.clock import LayerSteps, StepClock, clock_of
from normlab.train.profiling.floor import Work
from normlab.train.profiling.layers import Cost, Key
from normlab.train.stand_in import still

STEPS_PER_EPOCH = 2
"""Of the short epochs that are timed."""
FEW = 3
"""Epochs in which what happens once an epoch, or once a trial, is timed."""


@dataclass(frozen=True)
class Epoch:
    """A short epoch: seconds of a step by the loop's own clock, and what the marks found."""

    seconds: float
    steps: Sequence[Mapping[str, float]] = ()
    stages: Sequence[Mapping[str, float]] = ()
    layers: Sequence[Mapping[Key, Cost]] = ()
    rest: Mapping[str, float] = field(default_factory=dict)

    def part(self, name: str) -> float:
        """Seconds of a part in one step."""
        return fmean(step.get(name, 0.0) for step in self.steps)

    def stage(self, names: Iterable[str]) -> float:
        """Seconds of some stages of the update in one step."""
        return sum(fmean(step.get(name, 0.0) for step in self.stages) for name in names)

    def layer(self, key: Key) -> float:
        """The share that layers of a kind have of the part that they are in."""
        whole = self.part(key.part)
        taken = fmean(step.get(key, Cost()).seconds for step in self.layers)
        return taken / whole if whole else 0.0


def middle(epochs: Sequence[Epoch]) -> list[Epoch]:
    """The middle half: with these the parts of a mean sum to the mean of the whole."""
    ordered = sorted(epochs, key=lambda epoch: epoch.seconds)
    left_out = len(ordered) // 4
    return ordered[left_out : len(ordered) - left_out]


class ShortEpochs:
    """A training, and its short epochs by what was timed of them.

    Attributes:
        trainer: The training.
        builds: Seconds of making it, the first time and once more.
        first: The first epoch, in which everything is slower.
        undisturbed: Timed as a whole.
        by_part: With the clock read between the parts of a step.
        by_layer: With it read around every layer, too.
        watched: With their liveness watched; only a few.
        work: What the layers had to do in one step.
        processor: Of each undisturbed epoch the seconds of a core for each second.
    """

    def __init__(self, recipe: Recipe, data: Splits, device: str) -> None:
        # What scores the training images is evaluation.
        diagnostics = tuple(name for name in recipe.diagnostics if name != "train")
        self.recipe = still(recipe).model_copy(update={"diagnostics": diagnostics})
        self.builds = []
        for _ in range(2):
            before = time.perf_counter()
            self.trainer = Trainer(self.recipe, 0, data, torch.device(device), probes=True)
            self.builds.append(time.perf_counter() - before)
        self.clock = clock_of(self.trainer.device)
        self.scored = self.trainer.validation, self.trainer.test
        self.number = 1
        self.undisturbed: list[Epoch] = []
        self.by_part: list[Epoch] = []
        self.by_layer: list[Epoch] = []
        self.watched: list[Epoch] = []
        self.work: Mapping[Key, Sequence[Work]] = {}
        self.processor: list[float] = []
        self.first = self._epoch(Marks(), scores=True)  # of everything the first is slower

    def round(self) -> None:
        """Some steps of each kind."""
        wall, processor = time.perf_counter(), time.process_time()
        self.undisturbed.append(self._epoch(Marks()))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        self.processor.append(processor / wall)
        scores = len(self.by_part) < FEW
        self.by_part.append(self._epoch(StepClock(self.clock), scores=scores))
        marks = LayerSteps(self.clock, self.trainer.model)
        try:
            self.by_layer.append(self._epoch(marks))
        finally:
            marks.close()
        self.work = self.work or marks.layers.work
        if len(self.watched) < FEW:
            self.watched.append(self._epoch(StepClock(self.clock), watched=True))

    def _epoch(self, marks: Marks, *, scores: bool = False, watched: bool = False) -> Epoch:
        trainer = self.trainer
        trainer.marks = marks
        trainer.recipe = self.recipe
        trainer.validation, trainer.test = self.scored
        if not scores:
            trainer.recipe = self.recipe.model_copy(update={"diagnostics": ()})
            trainer.validation = trainer.validation[0][:0], trainer.validation[1][:0]
            trainer.test = trainer.test[0][:1], trainer.test[1][:1]
        self.number += 1
        self.record = trainer.epoch(1 if watched else self.number)
        seconds = self.record.seconds / STEPS_PER_EPOCH
        if not isinstance(marks, StepClock):
            return Epoch(seconds)
        layers = marks.costs if isinstance(marks, LayerSteps) else ()
        return Epoch(seconds, marks.steps, marks.stages, layers, marks.rest)

    def ended(self) -> tuple[Checkpoint, Finished]:
        """The training as after its last epoch; few of its images are scored."""
        history = (self.record,)
        self.trainer.train = self.trainer.train[0][:1], self.trainer.train[1][:1]
        return self.trainer.checkpoint(history), self.trainer.finish(history)

    def images_scored(self) -> int:
        """Of an epoch that scores."""
        return sum(len(labels) for _, labels in self.scored)
