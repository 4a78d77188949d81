"""A step of each bundled model in both layouts: what `normlab.train.layout` rests on.

    python benchmarks/layouts.py --threads 1
    python benchmarks/layouts.py --threads 1 --precision float64

The loop is that of a trial, with made-up images; only the layout differs. Contiguous / channels_last
above 1 says that channels_last is faster.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import torch
from shapes import bundled_recipes
from timing import Side, begin, in_turns, keep, options, ratio
from torch import nn

from normlab.convolutions import Conv2d
from normlab.data import describe
from normlab.models import MODELS
from normlab.recipe import Recipe
from normlab.train import loop
from normlab.train.stand_in import made_up, still

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
STEPS = 4


def side(recipe: Recipe, form: torch.memory_format) -> Side:
    """Epochs of a few steps in a layout; what it returns is seconds of one step."""
    facts = describe(recipe.data)
    images = made_up(facts.shape, facts.num_classes, STEPS * recipe.batch_size, 1)
    with patch.object(loop, "layout", lambda *_: form):
        trainer = loop.Trainer(recipe, 0, images, torch.device("cpu"), probes=False)
    if form is torch.contiguous_format:
        # Grey images lie both ways: ours would go on channels_last from there.
        for module in trainer.model.modules():
            if type(module) is Conv2d:
                module.__class__ = nn.Conv2d
    epochs = 0

    def run(count: int) -> float:
        nonlocal epochs
        total = 0.0
        for _ in range(count):
            epochs += 1
            total += trainer.epoch(epochs).seconds / STEPS
        return total / count

    return run


def chosen(wanted: list[str], precision: str) -> list[Recipe]:
    """A recipe of each model with batch norm, at the middle one of its batch sizes."""
    found: dict[str, list[Recipe]] = {}
    for recipe in bundled_recipes():
        if recipe.model.kind in wanted:
            found.setdefault(recipe.model.kind, []).append(recipe)
    middle = []
    for recipes in found.values():
        ordered = sorted(recipes, key=lambda recipe: recipe.batch_size)
        fixed = {"data": "digits", "model": "digits-small", "norm": "batch"}
        plain = Recipe.parse({**fixed, "precision": precision}, "a benchmark")
        changed = {"norm": plain.norm, "precision": plain.precision, "augment": ()}
        middle.append(still(ordered[len(ordered) // 2].model_copy(update=changed)))
    return middle


def compare(given: argparse.Namespace) -> list[dict[str, object]]:
    """Time the models and print a line for each."""
    rows: list[dict[str, object]] = []
    for recipe in chosen(given.models, given.precision):
        sides = {name: side(recipe, form) for name, form in FORMATS.items()}
        times = in_turns(sides, least=3, most=given.rounds, seconds=given.seconds)
        gain = ratio(times, "contiguous", "channels_last")
        label = f"{recipe.model.kind}, batch of {recipe.batch_size}, {given.precision}"
        print(f"{label:50} contiguous / channels_last {gain:5.2f}", flush=True)
        rows.append({"model": label, "contiguous / channels_last": round(gain, 3)})
    return rows


def main() -> None:
    """Read the command line, time, keep the rows."""
    parser = options(__doc__.splitlines()[0] if __doc__ else "", rounds=15)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "float64", "bfloat16")
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="for each model")
    given = parser.parse_args()
    begin(given)
    keep(compare(given), given)


if __name__ == "__main__":
    main()
