"""Are trials in lanes as exact, and as accurate, as on the torch path? No benchmark.

    python benchmarks/lanes.py --check                       # every model that trains in lanes
    python benchmarks/lanes.py --check --only mnist-7288 --images 2000

First the gradient of a first batch, from equal weights: its distance from float64, of the lanes and of torch in
float32, over its length; median and largest of 16 trials. A value at the kink of a ReLU may fall to either side on
both. Dropout is off: its masks are drawn in other ways in float64.

Then the test accuracy after a few epochs on real images, over seeds: both paths begin each seed with the same
weights and see the same images, so that the differences of pairs show what the other order of sums does.
"""

from __future__ import annotations

import copy
from statistics import median
from typing import Any

import numpy as np
import torch
from step_accuracy import short
from torch import nn
from torch.nn import functional as F

from normlab.data import splits
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.stats import moments, t_intervals
from normlab.train import EpochDone, train
from normlab.train.lanes import GroupTrial, rule, train_group
from normlab.train.lanes.program import Program
from normlab.train.loop import Trainer

SEEDS = 16
Row = dict[str, Any]


def errors(recipe: Recipe) -> Row:
    """Distances of the first gradient from float64, of lanes and of torch in float32."""
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    recipe = Recipe.parse({**values, "dropout": 0.0, "augment": []})
    data, lanes = splits(recipe), rule.size()
    place = torch.device("cpu")
    trainers = [Trainer(recipe, seed, data, place, probes=False) for seed in range(lanes)]
    first = trainers[0]
    first.model.train()
    program = Program.of(first.model, first.shape, lanes, recipe.batch_size)
    given = [next(trainer.batches(1)) for trainer in trainers]
    for lane, trainer in enumerate(trainers):
        program.parameters[:, lane] = flat(p.detach() for p in trainer.model.parameters())
    for name, norm in program.norms.items():
        program.buffers[name] = {
            short_name: np.stack(
                [t.model.get_submodule(name).get_buffer(short_name).numpy() for t in trainers], -1
            ).copy()
            for short_name in norm.buffers
        }
    classes = torch.eye(first.num_classes)
    targets = np.stack([classes[each.labels].numpy() for each in given], axis=-1)
    program.step([each.images.contiguous() for each in given], targets)
    of_lanes, of_torch = [], []
    for lane, (trainer, each) in enumerate(zip(trainers, given, strict=True)):
        exact, single = (gradient(trainer.model, each, dtype) for dtype in (torch.float64, None))
        size = np.linalg.norm(exact)
        of_lanes.append(float(np.linalg.norm(program.gradients[:, lane] - exact) / size))
        of_torch.append(float(np.linalg.norm(single - exact) / size))
    return {
        "lanes": [median(of_lanes), max(of_lanes)],
        "torch": [median(of_torch), max(of_torch)],
    }


def gradient(model: nn.Module, given: Any, dtype: torch.dtype | None) -> np.ndarray:
    """Of the loss at all parameters, in one row."""
    model = copy.deepcopy(model).train()
    model = model if dtype is None else model.to(dtype)
    images = given.images if dtype is None else given.images.to(dtype)
    F.cross_entropy(model(images), given.labels).backward()
    return flat(torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters())


def flat(tensors: Any) -> np.ndarray:
    """Tensors in one row, as they would be contiguous."""
    return torch.cat([each.reshape(-1).double() for each in tensors]).numpy()


def accuracies(recipe: Recipe, images: int) -> Row:
    """Percent of test images right after the last epoch on both paths, and the differences."""
    recipe = short(recipe, images)
    data = splits(recipe)
    in_lanes: dict[int, float] = {}
    for start in range(0, SEEDS, rule.size()):
        seeds = range(start, min(start + rule.size(), SEEDS))
        trials = [GroupTrial(recipe, seed, data) for seed in seeds]
        for number, event in train_group(trials):
            if isinstance(event, Exception):
                raise event
            if isinstance(event, EpochDone):
                in_lanes[seeds[number]] = 100 * float(event.record.test_accuracy)
    by_torch = []
    for seed in range(SEEDS):
        done = [e for e in train(recipe, seed, data) if isinstance(e, EpochDone)]
        by_torch.append(100 * float(done[-1].record.test_accuracy))
    found = [in_lanes[seed] for seed in range(SEEDS)]
    apart = [a - b for a, b in zip(found, by_torch, strict=True)]
    sides = {"lanes": found, "torch": by_torch, "difference": apart}
    return {"images": len(data.train)} | {name: interval(v) for name, v in sides.items()}


def interval(values: list[float]) -> list[float]:
    """Mean and its 95 % interval."""
    found = t_intervals(*moments(values))
    return [round(float(x), 3) for x in (found.mean, found.low, found.high)]


def check(recipes: dict[str, Recipe], images: int) -> list[Row]:
    """A row for each recipe, printed as it is found; accuracies once for each model.

    Args:
        recipes: By the name of their row.
        images: Training images at most; test images half as many.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    for name, recipe in recipes.items():
        try:
            row: Row = {"name": name, "error": errors(short(recipe, images))}
            found = "   ".join(
                f"{side} {middle:.1e} (at most {most:.1e})"
                for side, (middle, most) in row["error"].items()
            )
            print(f"{name:44}gradient from float64: {found}", flush=True)
            if recipe.model.kind not in seen:
                seen.add(recipe.model.kind)
                row["accuracy"] = accuracies(recipe, images)
                parts = ", ".join(
                    f"{side} {mean:.2f} ({low:.2f} to {high:.2f})"
                    for side, (mean, low, high) in list(row["accuracy"].items())[1:]
                )
                print(
                    f"{'':44}{SEEDS} seeds, {row['accuracy']['images']} images: {parts}", flush=True
                )
        except UserError as error:
            print(f"{name} is left out: {error}")
            continue
        rows.append(row)
    return rows
