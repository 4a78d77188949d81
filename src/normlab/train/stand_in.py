"""What stands in for a trial where its steps are only timed: made-up images, a rate of nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from normlab.data import Split, Splits
from normlab.recipe import Recipe
from normlab.recipe.regularizers import EarlyStopping

_LEAST = 1e-6  # learning rate: made-up images teach nothing, and nothing must diverge


def still(recipe: Recipe) -> Recipe:
    """The recipe with a rate that changes next to nothing, and no end."""
    rest = {"lr": _LEAST, "epochs": 1_000_000, "early_stopping": EarlyStopping()}
    return recipe.model_copy(update=rest)


def made_up(shape: tuple[int, int, int], num_classes: int, images: int, scored: int) -> Splits:
    """Random images in place of real ones.

    Args:
        shape: (C, H, W) of one image.
        num_classes: Number of classes.
        images: That are trained on.
        scored: Test images.
    """
    draw = np.random.default_rng(0)

    def some(count: int) -> Split:
        return Split(
            inputs=draw.random((count, *shape), dtype=np.float32),
            labels=draw.integers(num_classes, size=count),
        )

    ends = np.ones(shape[0], np.float32)
    return Splits(
        train=some(images),
        validation=some(0),
        test=some(scored),
        num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))),
        low=0 * ends,
        high=ends,
    )


@contextmanager
def own_randomness(device: str) -> Iterator[None]:
    """Layers draw values that nobody uses as they are made: no state of the caller's moves."""
    kept, legacy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if device == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(kept)
        np.random.set_state(legacy)
