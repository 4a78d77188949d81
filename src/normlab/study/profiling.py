"""Where one training step and one trial of a study's arm go on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from normlab.data import Split, Splits, splits
from normlab.data.download import offline
from normlab.errors import UserError, unknown
from normlab.recipe.data import OwnData
from normlab.records.profiling import Part, part_rows
from normlab.study.engines import resolve_device
from normlab.study.engines.provenance import chip_name
from normlab.study.plan import Arm, Plan
from normlab.study.probing import as_trials
from normlab.study.storing import Stored, time_start, time_storing
from normlab.train.cost import flops
from normlab.train.evaluation import BATCH
from normlab.train.profiling import (
    STEPS_PER_EPOCH,
    Rates,
    Training,
    measure,
    profile_training,
)
from normlab.train.stand_in import made_up

if TYPE_CHECKING:
    import pandas as pd

STEPS = 20
"""Timed of each kind, where nobody says how many."""
_SCORED = 2e10
"""Floating point operations of the images that are scored to time it."""
_SEEN = 256
"""Images that diagnostics look into."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Profile:
    """Where a step and a trial of an arm go. All times are seconds.

    Attributes:
        name: The study's.
        arm: The label of the arm.
        device: "cpu" or "cuda".
        chip: Its name.
        threads: CPU threads.
        images: Whether the images are the study's own, or made up, because they are not here.
        rates: What this machine does at most, as measured beside.
        training: What was timed of the training; `training.parts` are those of a step.
        trial_parts: Of a trial, from its steps to its files.
        worker_parts: What a worker pays once, whatever it trains.
    """

    name: str
    arm: str
    device: str
    chip: str
    threads: int
    images: Literal["real", "made-up"]
    rates: Rates
    training: Training
    trial_parts: tuple[Part, ...]
    worker_parts: tuple[Part, ...]

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs took the processor away while it was timed."""
        return self.device == "cpu" and self.threads == 1 and self.training.processor < 0.9

    @cached_property
    def step(self) -> pd.DataFrame:
        """A row per part of a step, a column per attribute of `Part`, and `share` of the step."""
        return _frame(self.training.parts)

    @cached_property
    def trial(self) -> pd.DataFrame:
        """The same of a trial."""
        return _frame(self.trial_parts)

    def __repr__(self) -> str:
        step = 1000 * self.training.undisturbed
        return f"<Profile of {self.name}, {self.arm}: a step takes {step:.3g} ms on {self.chip}>"

    def _repr_html_(self) -> str:
        return str(self.step.to_html())


def _frame(parts: tuple[Part, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(part_rows(parts))


def profile_of(
    plan: Plan,
    arm: str | None = None,
    *,
    steps: int = STEPS,
    device: str = "auto",
    threads: int = 1,
) -> Profile:
    """Profile an arm; nothing is stored, and no images are downloaded for it.

    Loops of norms and convolutions are compiled if they are not yet, which takes about a minute,
    once a machine.

    Args:
        plan: The study's.
        arm: The label of an arm; None for the first one.
        steps: To time of each kind; see `normlab.train.profiling.training`.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.

    Raises:
        UserError: There is no such arm or device, or a number that is not above 0.
    """
    for name, value in (("steps", steps), ("threads", threads)):
        if value < 1:
            raise UserError(f"{name} is {value}: a whole number above 0 is allowed")
    chosen = _arm(plan, arm)
    device = resolve_device(device)
    with as_trials(threads, device):
        data, reading = _images(chosen)
        rates = measure(device, chosen.recipe.precision)
        profiled = profile_training(chosen.recipe, data, rates, device=device, steps=steps)
        stored = time_storing(plan, chosen, profiled, device)
    return Profile(
        name=plan.study.name,
        arm=chosen.label,
        device=device,
        chip=chip_name(device),
        threads=threads,
        images="made-up" if reading is None else "real",
        rates=rates,
        training=profiled.training,
        trial_parts=tuple(_trial(chosen, profiled.training, stored)),
        worker_parts=tuple(_worker(profiled.training, reading)),
    )


def _arm(plan: Plan, label: str | None) -> Arm:
    arms = {arm.label: arm for arm in plan.arms}
    if label is None:
        return plan.arms[0]
    if label not in arms:
        raise UserError(f"{plan.study.name}: {unknown('arm', label, arms)}")
    return arms[label]


def _images(arm: Arm) -> tuple[Splits, float | None]:
    """Images to train on and to score, and the seconds it took to read all; None if made up."""
    recipe, facts = arm.recipe, arm.facts
    batch = min(recipe.batch_size, arm.images)
    each = flops(recipe, facts.shape, facts.num_classes)
    scored = int(min(max(_SCORED / max(each or _SCORED / 100, 1), 2), BATCH))
    seen = _SEEN if "activations" in recipe.diagnostics else 0
    before = time.perf_counter()
    try:
        with offline():
            found = splits(recipe)
    except UserError:
        if isinstance(recipe.data, OwnData):
            raise
        found = made_up(facts.shape, facts.num_classes, batch, scored)
        reading = None
    else:
        reading = time.perf_counter() - before
    return (
        replace(
            found,
            train=_some(found.train, STEPS_PER_EPOCH * batch),
            validation=_some(found.train, seen),
            test=_some(found.test, min(scored, len(found.test))),
        ),
        reading,
    )


def _some(split: Split, count: int) -> Split:
    """So many images of a split, from its beginning again where there are fewer."""
    chosen = np.arange(count) % max(len(split), 1)
    return Split(inputs=split.inputs[chosen], labels=split.labels[chosen])


def _trial(arm: Arm, training: Training, stored: Stored) -> Iterator[Part]:
    recipe, images, epochs = arm.recipe, arm.images, arm.recipe.epochs
    steps = math.ceil(images / recipe.batch_size)
    held = arm.facts.train_images - images
    scored = arm.facts.test_images + held + ("train" in recipe.diagnostics) * images
    watched = training.watching_once + steps * training.watching
    # At the end the training images are scored once.
    evaluated = (epochs * scored + images) * training.evaluation
    yield Part(name="building the model", seconds=training.build)
    taken = epochs * steps * training.undisturbed
    floors = [part.floor for part in training.parts if not part.within and part.floor is not None]
    floor = epochs * steps * sum(floors)
    yield Part(name="steps", seconds=taken, calls=epochs * steps, floor=floor)
    yield Part(name="liveness, first epoch", seconds=watched)
    yield Part(name="evaluation", seconds=evaluated, calls=epochs + 1)
    yield Part(name="diagnostics", seconds=epochs * training.diagnostics, calls=epochs)
    inner = [
        Part(
            name="checkpoints", within="storing", seconds=epochs * stored.checkpoint, calls=epochs
        ),
        Part(name="epoch records", within="storing", seconds=epochs * stored.record, calls=epochs),
        Part(name="weights and predictions", within="storing", seconds=stored.files),
        Part(name="result", within="storing", seconds=stored.result),
    ]
    yield Part(name="storing", seconds=sum(part.seconds for part in inner))
    yield from inner


def _worker(training: Training, reading: float | None) -> Iterator[Part]:
    if (imports := time_start()) is not None:
        yield Part(name="importing", seconds=imports)
    if reading is not None:
        yield Part(name="reading the images", seconds=reading)
    loops = max(training.first_build - training.build, 0.0)
    yield Part(name="loops compiled or loaded", seconds=loops)
    yield Part(name="the first steps, beyond later ones", seconds=training.first_steps)
