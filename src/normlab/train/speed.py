"""How fast a recipe trains here: a few real epochs on made-up images, in seconds.

The loop, the augmentation, the optimizer and the evaluation are those of a trial. A step's time is
a fixed part and a part for each image; where the step of the recipe's batch size would take too
long, two smaller ones are timed and the line through them is followed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import torch

from normlab.recipe import Recipe
from normlab.train.evaluation import BATCH
from normlab.train.loop import Trainer
from normlab.train.stand_in import made_up, own_randomness, still

_SMALL = 4e9
"""Floating point operations of a step that is timed whatever it takes: well below a second."""
_STEPS = 8
"""At most, of an epoch that is timed."""
_GROWTH = 4
"""From one batch size to the next."""
_ENOUGH = 0.2
"""Seconds for one batch size."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of a trial's parts.

    Attributes:
        start: Until the first step: the model is built.
        fixed: Of a step, whatever its size.
        image: Of a step for each image of the batch.
        evaluation: Of scoring an image.
        batch: Images of the largest batch that was timed.
    """

    start: float = 0.0
    fixed: float
    image: float
    evaluation: float
    batch: int

    def step(self, images: float) -> float:
        """Seconds of a step."""
        return self.fixed + self.image * images


@dataclass(frozen=True, kw_only=True)
class Load:
    """What there is to do for an image, as far as it is known: it bounds what is tried.

    Attributes:
        step_flops: Floating point operations of its forward and backward pass, of all its copies.
        flops: Of its forward pass.
        most: Images of a batch that fit into memory.
    """

    step_flops: float
    flops: float
    most: int


def time_training(
    recipe: Recipe,
    shape: tuple[int, int, int],
    num_classes: int,
    load: Load,
    *,
    images: int,
    device: str,
    seconds: float,
    first: int | None = None,
) -> Speed:
    """Time a recipe on this thread setting; global random states are left as they were.

    Args:
        recipe: What is timed. Its epochs, learning rate, validation, diagnostics and seed do not
            matter.
        shape: (C, H, W) of one image.
        num_classes: Number of classes.
        load: What an image costs.
        images: Of a batch, as the trials have it.
        device: "cpu" or "cuda".
        seconds: About how long that may take. Two steps are timed at least.
        first: Images of the first batch that is timed; of a small one if it is not given.

    Raises:
        Exception: Whatever a model of the user's raises in training.
    """
    end = time.perf_counter() + seconds
    most = max(min(images, load.most), 1)
    batch = min(most, first or max(int(_SMALL / max(load.step_flops, 1.0)), 2))
    with own_randomness(device):
        timing = _Timing(recipe, shape, num_classes, load, most=most, device=device)
        found = [timing.step(batch, end)]
        while (batch := _next(found[-1], most, end - time.perf_counter())) > found[-1].images:
            found.append(timing.step(batch, end))
    last, before = found[-1], found[-2] if len(found) > 1 else None
    slope = last.seconds / last.images
    if before is not None:
        # Both parts of the line are times: neither is below 0.
        rise = (last.seconds - before.seconds) / (last.images - before.images)
        slope = min(max(rise, 0.0), slope)
    return Speed(
        start=timing.start,
        fixed=last.seconds - slope * last.images,
        image=slope,
        evaluation=last.evaluation,
        batch=last.images,
    )


class _Step(NamedTuple):
    """Seconds of a step of so many images, and of scoring an image."""

    images: int
    seconds: float
    evaluation: float


def _next(last: _Step, most: int, left: float) -> int:
    """The next batch size: up to four times the last one, if two steps of it and a bit fit in."""
    affordable = int(last.images * left / (2.5 * last.seconds)) if last.seconds else most
    batch = min(most, _GROWTH * last.images, affordable)
    return batch if batch == most or batch >= 2 * last.images else 0


class _Timing:
    """A model with its optimizer, and steps of any size.

    Attributes:
        start: Seconds until it was there.
    """

    def __init__(
        self,
        recipe: Recipe,
        shape: tuple[int, int, int],
        num_classes: int,
        load: Load,
        *,
        most: int,
        device: str,
    ) -> None:
        self.load = load
        scored = int(min(max(_SMALL / 2 / max(load.flops, 1.0), 2), load.most, BATCH))
        self.data = made_up(shape, num_classes, max(most, self._images(most)), scored)
        before = time.perf_counter()
        recipe = still(recipe).model_copy(update={"diagnostics": ()})
        self.trainer = Trainer(recipe, 0, self.data, torch.device(device), probes=False)
        self.start = time.perf_counter() - before
        self.inputs, self.labels = self.trainer.train
        self.epochs = 0

    def _images(self, batch: int) -> int:
        """Of an epoch: some steps of a batch that takes little, one of another."""
        steps = int(_SMALL / max(self.load.step_flops * batch, 1.0))
        return batch * min(max(steps, 1), _STEPS)

    def step(self, batch: int, end: float) -> _Step:
        """Time a batch size until it is known well enough: at least twice, the first warms up."""
        images = min(self._images(batch), len(self.labels))
        steps, scored = images // batch, len(self.data.test)
        self.trainer.recipe = self.trainer.recipe.model_copy(update={"batch_size": batch})
        self.trainer.train = self.inputs[: steps * batch], self.labels[: steps * batch]
        epochs, rests, begun = [], [], time.perf_counter()
        while True:
            self.epochs += 1
            before = time.perf_counter()
            trained = self.trainer.epoch(self.epochs).seconds
            now = time.perf_counter()
            epochs.append(trained)
            rests.append(now - before - trained)
            if len(epochs) > 1 and (now - begun > _ENOUGH or now + (now - before) > end):
                break
        return _Step(batch, median(epochs[1:]) / steps, median(rests[1:]) / scored)
