"""Test accuracies after a short training: normlab in float32 and bfloat16, and the plain loop; no benchmark.

    python benchmarks/step.py --check                       # MNIST-7288 and ResNet-14, 5 seeds, 5 epochs
    python benchmarks/step.py --check --models resnet --images 2000

On real images. Both begin each seed with the same weights and see the same images, in orders of their own.
Shown is the mean over seeds of the last epoch's test accuracy, with its 95 % interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from plain_loops import Pictures, loader, loader_accuracy, loader_epoch
from plain_nets import plain_net
from step_cases import Case, cases

from normlab.data import describe, load, splits
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.stats import moments, t_intervals
from normlab.train import EpochDone, train

SEEDS, EPOCHS = 5, 5
DATA: dict[str, dict[str, Any]] = {"resnet": {"kind": "caltech25"}}
"""The images of the study that a model is known for, where the table of steps has others of their size."""


def check(models: list[str], images: int) -> list[dict[str, object]]:
    """A row for each model and way to train; printed as it is found.

    Args:
        models: Kinds in the catalog.
        images: Training images at most; test images half as many.
    """
    rows = []
    for model in models:
        case = next(case for case in cases([model]) if case.recipe.precision == "float32")
        try:
            recipe = short(case.recipe, images)
            found = {
                f"normlab, {precision}": [
                    trained(recipe.model_copy(update={"precision": precision}), seed)
                    for seed in range(SEEDS)
                ]
                for precision in ("float32", "bfloat16")
            }
            found["plain loop, float32"] = plainly(case, recipe)
        except UserError as error:
            print(f"{model} is left out: {error}")
            continue
        plain = np.mean(found["plain loop, float32"])
        for way, accuracies in found.items():
            means = moments(accuracies)
            interval = t_intervals(*means)
            row: dict[str, object] = {
                "model": model,
                "way": way,
                "images": describe_images(recipe),
                "seeds": SEEDS,
                "epochs": EPOCHS,
                "mean": round(float(interval.mean), 3),
                "low": round(float(interval.low), 3),
                "high": round(float(interval.high), 3),
                "from_plain": round(float(interval.mean - plain), 3),
            }
            rows.append(row)
            print(
                f"{model:14}{way:22}{row['images']:>6} images, {SEEDS} seeds x {EPOCHS} epochs:"
                f" {row['mean']:.2f} % ({row['low']:.2f} to {row['high']:.2f}),"
                f" {row['from_plain']:+.2f} from the plain loop",
                flush=True,
            )
    return rows


def short(recipe: Recipe, images: int) -> Recipe:
    """The recipe on at most so many real images, for a few epochs."""
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    data = DATA.get(recipe.model.kind, {"kind": recipe.data.kind})
    whole = Recipe.parse({**values, "data": data, "epochs": EPOCHS})
    facts = describe(whole.data)
    each = max(1, images // facts.num_classes)
    limits = {}
    if each < max(facts.train_counts):
        limits["limit"] = each
    if each // 2 < max(facts.test_counts):
        limits["test_limit"] = max(1, each // 2)
    return Recipe.parse({**values, "data": {**data, **limits}, "epochs": EPOCHS})


def describe_images(recipe: Recipe) -> int:
    """How many training images a recipe has."""
    return describe(recipe.data).train_images


def trained(recipe: Recipe, seed: int) -> float:
    """Percent of test images that normlab's net gets right after the last epoch."""
    done = [e for e in train(recipe, seed, splits(recipe)) if isinstance(e, EpochDone)]
    return 100 * float(done[-1].record.test_accuracy)


def plainly(case: Case, recipe: Recipe) -> list[float]:
    """The same of the plain loop, for each seed."""
    dataset = load(recipe.data)
    test, train_images = (
        images[:, 0]
        if dataset.shape[0] == 1
        else np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        for images in (dataset.test_images, dataset.train_images)
    )
    pixels = dataset.train_images / np.float32(255)
    mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
    training = case.training("contiguous", "float32")
    accuracies = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        net = plain_net(recipe, dataset.shape, len(dataset.class_names), seed)
        optimizer = training.made(net)
        batches = loader(
            Pictures(train_images, dataset.train_labels, (), mean, std), recipe.batch_size
        )
        tests = loader(Pictures(test, dataset.test_labels, (), mean, std), 1000, shuffle=False)
        for _ in range(EPOCHS):
            loader_epoch(net, batches, optimizer, training)
        accuracies.append(100 * loader_accuracy(net, tests))
    return accuracies
