"""A recipe trained for a few steps, in turn undisturbed and on clocks of growing detail.

Four kinds of step follow each other, so that a busy moment of the machine meets all of them:

    undisturbed   only the epoch is timed, as in any trial
    by part       the clock is read between the parts of a step
    by layer      it is also read around every layer, forward and backward
    watched       as in a trial's first epoch, whose liveness is watched

The parts are those of the second kind. Forward and backward are split by the shares that the layers
have of them in the third, whose clocks take time themselves. What a step takes beyond its parts
is `other`. All are means over the middle half of the epochs, so that the parts sum to the whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import NamedTuple

import torch

from normlab.data import Splits
from normlab.recipe import Recipe
from normlab.train.checkpoint import Checkpoint
from normlab.train.footprint import copies, remembered
from normlab.train.loop import Finished, Trainer
from normlab.train.marks import Marks
from normlab.train.profiling.clock import LayerSteps, StepClock, clock_of
from normlab.train.profiling.floor import Work, size_of, update_work
from normlab.train.profiling.layers import KINDS, Cost, Key
from normlab.train.profiling.machine import Rates
from normlab.train.stand_in import own_randomness, still

STEPS_PER_EPOCH = 2
"""Of the short epochs that are timed."""
PARTS = ("input", "forward", "loss", "backward", "optimizer", "metrics")
"""Of a step, in their order; `other` is what none of them explains."""
BETWEEN = "between layers"
"""What of `forward` and `backward` no layer explains: sums of gradients, autograd, Python."""
_STAGES = {
    "penalties": ("l1", "l2"),
    "clipping": ("clip",),
    "weight decay": ("decay",),
    "update": ("step",),
}
"""What is shown of an update, each with its stages; see `Updater.step`."""
_FEW = 3
"""Epochs in which what happens once an epoch, or once a trial, is timed."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a step or of a trial.

    Attributes:
        name: What it is.
        within: The part that it is a part of; empty for those that make up the whole.
        seconds: It takes in one step, or in the whole trial.
        calls: How often it runs in that.
        floor: Seconds that this machine needs at least for its operations or its bytes; None where
            nothing is known of them.
        flops: Floating point operations that it needs.
        moved: Bytes that it has to read and write.
    """

    name: str
    within: str = ""
    seconds: float
    calls: int = 1
    floor: float | None = None
    flops: int | None = None
    moved: int | None = None

    @property
    def times_the_floor(self) -> float | None:
        """How much longer it takes than it must."""
        return self.seconds / self.floor if self.floor else None


@dataclass(frozen=True, kw_only=True)
class Training:
    """Seconds of a training's parts.

    Attributes:
        steps: That were timed of each kind.
        batch: Images that a step takes from the data.
        undisturbed: A step on no clock.
        by_part: A step whose parts are timed.
        by_layer: A step whose layers are timed, too.
        parts: Of a step, `other` among them.
        watching: What watching the liveness adds to each step of the first epoch.
        watching_once: And what it takes beside that, most of it in the first two steps.
        first_build: Making model and optimizer for the first time in a process, with what the
            norms compile or load for it.
        build: And each time from then on.
        first_steps: What the first steps take beyond later ones: convolutions that are made for
            their shapes, memory that is taken for the first time.
        evaluation: Scoring an image.
        diagnostics: Of an epoch.
        processor: Seconds of a core that the process had for each second of an undisturbed step:
            with one thread below 1 where other programs took the core away.
    """

    steps: int
    batch: int
    undisturbed: float
    by_part: float
    by_layer: float
    parts: tuple[Part, ...]
    watching: float
    watching_once: float
    first_build: float
    build: float
    first_steps: float
    evaluation: float
    diagnostics: float
    processor: float


class Profiled(NamedTuple):
    """What was found, and what the training left to be stored."""

    training: Training
    checkpoint: Checkpoint
    finished: Finished


def profile_training(
    recipe: Recipe, data: Splits, rates: Rates, *, device: str, steps: int
) -> Profiled:
    """Time a recipe on this thread setting; global random states are left as they were.

    Args:
        recipe: What is timed. Its learning rate, epochs and seed do not matter.
        data: Images for `STEPS_PER_EPOCH` batches, some to score, and some that the diagnostics
            look into.
        rates: Of this machine, in the recipe's precision.
        device: "cpu" or "cuda".
        steps: To time of each kind, rounded up to whole epochs.

    Raises:
        Exception: Whatever a model of the user's raises in training.
    """
    with own_randomness(device):
        timing = _Timing(recipe, data, device)
        for _ in range(max(-(-steps // STEPS_PER_EPOCH), 1)):
            timing.round()
        return Profiled(timing.result(rates), *timing.ended())


@dataclass(frozen=True)
class _Epoch:
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
        return (
            fmean(step.get(key, Cost()).seconds for step in self.layers) / whole if whole else 0.0
        )

    def step(self, index: int) -> float:
        """Seconds of one of its steps."""
        return sum(self.steps[index].values())


def _middle(epochs: Sequence[_Epoch]) -> list[_Epoch]:
    """The middle half: with these the parts of a mean sum to the mean of the whole."""
    ordered = sorted(epochs, key=lambda epoch: epoch.seconds)
    left_out = len(ordered) // 4
    return ordered[left_out : len(ordered) - left_out]


class _Timing:
    """A training, and its short epochs by what was timed of them."""

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
        self.undisturbed: list[_Epoch] = []
        self.by_part: list[_Epoch] = []
        self.by_layer: list[_Epoch] = []
        self.watched: list[_Epoch] = []
        self.work: Mapping[Key, Sequence[Work]] = {}
        self.processor: list[float] = []
        self.first = self._epoch(Marks(), scores=True)  # of everything the first is slower

    def round(self) -> None:
        """Some steps of each kind."""
        wall, processor = time.perf_counter(), time.process_time()
        self.undisturbed.append(self._epoch(Marks()))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        self.processor.append(processor / wall)
        scores = len(self.by_part) < _FEW
        self.by_part.append(self._epoch(StepClock(self.clock), scores=scores))
        marks = LayerSteps(self.clock, self.trainer.model)
        try:
            self.by_layer.append(self._epoch(marks))
        finally:
            marks.close()
        self.work = self.work or marks.layers.work
        if len(self.watched) < _FEW:
            self.watched.append(self._epoch(StepClock(self.clock), watched=True))

    def _epoch(self, marks: Marks, *, scores: bool = False, watched: bool = False) -> _Epoch:
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
            return _Epoch(seconds)
        layers = marks.costs if isinstance(marks, LayerSteps) else ()
        return _Epoch(seconds, marks.steps, marks.stages, layers, marks.rest)

    def result(self, rates: Rates) -> Training:
        """What was found."""
        by_part = fmean(e.seconds for e in _middle(self.by_part))
        # Most of what is watched is seen in the first two steps, and these are all of an epoch.
        watching = min(e.part("liveness") for e in self.watched)
        added = min(
            STEPS_PER_EPOCH * (e.seconds - by_part - watching) + e.rest.get("liveness", 0.0)
            for e in self.watched
        )
        scoring = [epoch.rest for epoch in self.by_part[:_FEW]]
        return Training(
            steps=STEPS_PER_EPOCH * len(self.by_part),
            batch=len(self.trainer.train[1]) // STEPS_PER_EPOCH,
            undisturbed=fmean(e.seconds for e in _middle(self.undisturbed)),
            by_part=by_part,
            by_layer=fmean(e.seconds for e in _middle(self.by_layer)),
            parts=tuple(self._parts(rates)),
            watching=watching,
            watching_once=max(added, 0.0),
            first_build=self.builds[0],
            build=self.builds[1],
            first_steps=STEPS_PER_EPOCH * max(self.first.seconds - by_part, 0.0),
            evaluation=min(rest["evaluation"] for rest in scoring) / self._images_scored(),
            diagnostics=min(rest["diagnostics"] for rest in scoring),
            processor=median(self.processor),
        )

    def ended(self) -> tuple[Checkpoint, Finished]:
        """The training as after its last epoch; few of its images are scored."""
        history = (self.record,)
        self.trainer.train = self.trainer.train[0][:1], self.trainer.train[1][:1]
        return self.trainer.checkpoint(history), self.trainer.finish(history)

    def _images_scored(self) -> int:
        return sum(len(labels) for _, labels in self.scored)

    def _parts(self, rates: Rates) -> Iterator[Part]:
        epochs = _middle(self.by_part)
        took = {name: fmean(e.part(name) for e in epochs) for name in PARTS}
        raw = size_of([self.trainer.train[0]]) // STEPS_PER_EPOCH
        given = raw * copies(self.recipe)
        gathered = Work(0, raw + given, raw + given)
        yield _part("input", took["input"], rates=rates, works=[gathered])
        yield from self._with_layers("forward", took["forward"], rates)
        yield _part("loss", took["loss"])
        yield from self._with_layers("backward", took["backward"], rates)
        yield from self._update(took["optimizer"], rates)
        yield _part("metrics", took["metrics"])
        whole = fmean(e.seconds for e in epochs)
        yield _part("other", max(whole - sum(took.values()), 0.0))

    def _with_layers(self, name: str, seconds: float, rates: Rates) -> Iterator[Part]:
        keys = [key for kind in KINDS if (key := Key(name, kind)) in self.work]
        epochs, inner = _middle(self.by_layer), []
        for key in keys:
            taken = seconds * fmean(e.layer(key) for e in epochs)
            calls, works = len(self.work[key]), self.work[key]
            inner.append(_part(key.kind, taken, within=name, calls=calls, rates=rates, works=works))
        every = [work for key in keys for work in self.work[key]]
        yield _part(name, seconds, rates=rates, works=every)
        yield from inner
        rest = max(seconds - sum(part.seconds for part in inner), 0.0)
        yield _part(BETWEEN, rest, within=name)

    def _update(self, seconds: float, rates: Rates) -> Iterator[Part]:
        groups = self.trainer.updater.optimizer.param_groups
        trained = [p for group in groups for p in group["params"] if p.requires_grad]
        works = [update_work(trained, remembered(self.recipe))]
        yield _part("optimizer", seconds, rates=rates, works=works)
        epochs = _middle(self.by_part)
        for title, stages in _STAGES.items():
            taken = fmean(e.stage(stages) for e in epochs)
            known = works if title == "update" else None
            yield _part(title, taken, within="optimizer", rates=rates, works=known)


def _part(
    name: str,
    seconds: float,
    *,
    within: str = "",
    calls: int = 1,
    rates: Rates | None = None,
    works: Sequence[Work] | None = None,
) -> Part:
    if rates is None or works is None:
        return Part(name=name, within=within, seconds=seconds, calls=calls)
    return Part(
        name=name,
        within=within,
        seconds=seconds,
        calls=calls,
        floor=sum(work.seconds(rates) for work in works),
        flops=sum(work.flops for work in works),
        moved=sum(work.moved for work in works),
    )
