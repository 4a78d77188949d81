"""The steps that `step.py` times: every bundled model as its study has it; no benchmark.

A case is a recipe of normlab's and made-up images of its data set's size, since a step takes the same
time whatever the images show. The transforms are those of source C.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from plain_loops import TRANSFORMS, Pictures, Training
from shapes import bundled_recipes

from normlab.data import Split, Splits, describe
from normlab.models import MODELS
from normlab.recipe import Recipe

MEAN, STD = 0.13, 0.31
"""What pixels from 0 to 1 are scaled by, in every channel."""

BATCH = {"mnist-7288": 128, "mnist-7704": 128, "resnet50": 64, "resnet50-as-published": 64}
"""Batch sizes; those of the others are the smallest of 32 and more in the bundled studies."""

STEPS = {"digits-small": 120, "resnet50": 2, "resnet50-as-published": 12}
"""Steps of a window; of the others 24. The first ones find the caches full of another side's data."""

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What the seconds of a window are: all that pass, or those of its process on a processor."""

BFLOAT16 = ("resnet", "resnet50-as-published")
"""Models that are timed in bfloat16 as well."""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        recipe: What normlab trains: batch norm, a constant learning rate, no validation images.
        steps: Steps of a window, which is an epoch.
    """

    recipe: Recipe
    steps: int

    @property
    def name(self) -> str:
        """Model, precision and whether images are transformed."""
        changed = ", source C's transforms" if self.recipe.augment else ""
        return f"{self.recipe.model.kind}, {self.recipe.precision}{changed}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return describe(self.recipe.data).shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return describe(self.recipe.data).num_classes

    @property
    def augment(self) -> list[dict[str, Any]]:
        """The transforms: kind and options."""
        return [spec.model_dump(mode="json", exclude_defaults=True) for spec in self.recipe.augment]

    def training(self, layout: str, precision: str) -> Training:
        """The same training for a plain loop."""
        recipe = self.recipe
        return Training(
            optimizer=recipe.optimizer.kind,
            lr=recipe.lr,
            momentum=recipe.momentum,
            eps=getattr(recipe.optimizer, "eps", 1e-8),
            precision=precision,
            layout=layout,
        )


@dataclass(frozen=True)
class Made:
    """Made-up images: raw (N, H, W) or (N, H, W, 3) of uint8, scaled (N, C, H, W), and classes (N,)."""

    raw: np.ndarray[Any, Any]
    scaled: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def splits(self, classes: int) -> Splits:
        """For normlab's loop: all for training, a few for test, so that this takes no time."""
        channels = self.scaled.shape[1]
        low, high = (np.full(channels, (v - MEAN) / STD, np.float32) for v in (0.0, 1.0))
        return Splits(
            train=Split(inputs=self.scaled, labels=self.labels),
            validation=Split(inputs=self.scaled[:0], labels=self.labels[:0]),
            test=Split(inputs=self.scaled[:2], labels=self.labels[:2]),
            num_classes=classes,
            class_names=tuple(map(str, range(classes))),
            low=low,
            high=high,
        )

    def pictures(self, augment: list[dict[str, Any]]) -> Pictures:
        """For a loop over pictures."""
        transforms = [
            TRANSFORMS[spec["kind"]](**{k: v for k, v in spec.items() if k != "kind"})
            for spec in augment
        ]
        channels = self.scaled.shape[1]
        return Pictures(self.raw, self.labels, transforms, [MEAN] * channels, [STD] * channels)


def made(case: Case) -> Made:
    """Images of a window of a case."""
    source = np.random.default_rng(0)
    channels, height, width = case.shape
    count = case.steps * case.recipe.batch_size
    raw = source.integers(0, 256, (count, height, width, channels), np.uint8)
    scaled = (raw.transpose(0, 3, 1, 2) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    labels = source.integers(0, case.classes, count)
    return Made(raw[..., 0] if channels == 1 else raw, np.ascontiguousarray(scaled), labels)


def cases(models: list[str] | None = None) -> list[Case]:
    """All rows of the table, or those of some models."""
    found = []
    recipes = bundled_recipes()
    for kind in MODELS:
        if models and kind not in models:
            continue
        mine = [recipe for recipe in recipes if recipe.model.kind == kind]
        # The model as its study has it, where one has it without options of its own.
        mine.sort(key=lambda recipe: len(recipe.model.model_dump(exclude_defaults=True)))
        study = mine[0]
        base = study.model_dump(
            mode="json", include={"data", "model", "optimizer", "lr", "dropout"}
        )
        norm = study.norm.model_dump(mode="json") if study.norm.kind == "batch" else "batch"
        batch = BATCH.get(kind) or min(r.batch_size for r in mine if r.batch_size >= 32)
        values = {**base, "norm": norm, "batch_size": batch, "validation": 0, "epochs": 1_000_000}
        steps = STEPS.get(kind, 24)
        found.append(Case(Recipe.parse(values), steps))
        if any(spec.kind in TRANSFORMS for spec in study.augment):
            changes = study.model_dump(mode="json", include={"augment"}, exclude_defaults=True)
            found.append(Case(Recipe.parse({**values, **changes}), steps))
        if kind in BFLOAT16:
            found.append(Case(Recipe.parse({**values, "precision": "bfloat16"}), steps))
    return found
