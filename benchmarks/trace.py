"""What a change did to the numbers: the same training at a fixed seed, here and in another checkout.

    git worktree add ../normlab-before <commit>
    python benchmarks/trace.py --before ../normlab-before

For one network of each bundled model: whether every loss and the weights at the end are bit-equal,
and if not, the largest difference of a loss over the first loss and the difference of all weights
over their norm. Beside each stands what one changed rounding makes: the same training in the other checkout
on images whose pixels were moved by one unit in the last place of the precision, up or down by
draw. A change that only computes in another order stays near that, a few times above where it is
in every layer; one that computes something else is orders above it.

Images and labels are drawn, so no data is needed. Each epoch is one step (one batch, the same
images in another order), so that the losses of all steps are in the records, and only what every
version has is used: `train`, `Recipe.parse`, `Splits`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from layer_steps import Checkout
from timing import begin, keep, options

HERE = Path(__file__).resolve().parents[1]
BITS = {"float64": 52, "float32": 23, "bfloat16": 7}
"""Of the mantissa, by precision: one unit in the last place is 2^-bits."""


class Trained(NamedTuple):
    """Losses of the steps, and the weights after the last, all in one vector."""

    losses: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


class Difference(NamedTuple):
    """The largest of a loss over the first loss, and the norm of all weights' over theirs."""

    loss: float
    weights: float


def difference(a: Trained, b: Trained) -> Difference:
    """Of b from a; infinite where one diverged before the other did."""
    if a.losses.shape != b.losses.shape or not len(a.losses):
        return Difference(float("inf"), float("inf"))
    # Over the first loss: one batch over and over is learned by heart, and losses end near 0.
    loss = np.abs(b.losses - a.losses) / a.losses[0]
    weights = np.linalg.norm(b.weights - a.weights) / np.linalg.norm(a.weights)
    return Difference(float(loss.max(initial=0.0)), float(weights))


def said(value: float) -> str:
    """A difference in words."""
    return f"{value:.1e}" if value else "bit-equal"


def trained(
    checkout: Checkout, recipe: dict[str, Any], facts: dict[str, Any], *, moved: bool
) -> Trained:
    """Train a recipe in a checkout.

    Args:
        checkout: Where.
        recipe: As a study would write it.
        facts: Shape (C, H, W) of the images, number of classes, steps.
        moved: Whether the pixels are moved by one unit in the last place.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trained.npz"
        checkout.ask({"recipe": recipe, **facts, "moved": moved, "path": str(path)})
        with np.load(path) as found:
            return Trained(found["losses"], found["weights"])


def networks(wanted: Iterable[str], batch: int, precision: str, steps: int, extra: str) -> Any:
    """(name, recipe, facts) of the bundled network of each model that has the most norms."""
    from shapes import bundled_recipes, maps_of

    from normlab.data import describe
    from normlab.models import MODELS

    recipes = bundled_recipes()
    for kind in wanted or MODELS:
        own = [recipe for recipe in recipes if recipe.model.kind == kind]
        if not own:
            raise SystemExit(f"{kind} is none of the models {', '.join(MODELS)}")
        recipe = max(own, key=lambda recipe: (len(maps_of(recipe)), min(recipe.batch_size, batch)))
        values = recipe.model_dump(mode="json", exclude_defaults=True)
        if recipe.norm.kind == "none":
            values.pop("norm", None)
        size = min(recipe.batch_size, batch)
        for key in ("data", "validation", "early_stopping", "diagnostics"):
            values.pop(key, None)
        told = {"data": recipe.data.kind, "precision": precision, "batch_size": size}
        values |= {**told, "epochs": steps, "validation": 0.0, **json.loads(extra)}
        described = describe(recipe.data)
        facts = {"shape": described.shape, "classes": described.num_classes}
        yield kind, values, facts


def main() -> None:
    """Trace every model, print a row for each."""
    parser = options(__doc__.splitlines()[0], rounds=1)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--models", nargs="*", default=[], help="kinds; all if none are given")
    parser.add_argument("--precision", choices=list(BITS), default="float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32, help="images of a step at most")
    parser.add_argument(
        "--with", dest="extra", default="{}", help='recipe keys as JSON: {"agc": 0.01}'
    )
    given = parser.parse_args()
    rows = run(given)
    keep(rows, given)


def run(given: argparse.Namespace) -> list[dict[str, object]]:
    """Print the table, return its rows."""
    begin(given)
    here, before = (
        Checkout(place, given.threads, Path(__file__)) for place in (HERE, given.before)
    )
    print(f"{given.precision}, {given.steps} steps; in brackets: pixels moved by one last place")
    print(f"{'model':24}{'batch':>6}  {'largest of a loss':24}weights at the end")
    rows: list[dict[str, object]] = []
    found = networks(given.models, given.batch, given.precision, given.steps, given.extra)
    for name, recipe, facts in found:
        old = trained(before, recipe, facts, moved=False)
        new = trained(here, recipe, facts, moved=False)
        change = difference(old, new)
        unit = difference(old, trained(before, recipe, facts, moved=True))
        size = recipe["batch_size"]
        loss, weights = (f"{said(of)} ({one:.1e})" for of, one in zip(change, unit, strict=True))
        print(f"{name:24}{size:>6}  {loss:24}{weights}", flush=True)
        rows.append(
            {
                "model": name,
                "recipe": recipe,
                "change": change._asdict(),
                "one_unit": unit._asdict(),
                "losses_before": old.losses.tolist(),
                "losses_here": new.losses.tolist(),
            }
        )
    for side in (here, before):
        side.close()
    return rows


def serve() -> None:
    """Train what the lines of the input say, until it ends."""
    import normlab
    from normlab.train.memory import keep_freed_memory

    torch.set_num_threads(int(sys.argv[2]))
    keep_freed_memory()
    for line in sys.stdin:
        order = json.loads(line)
        answer = str(normlab.__file__) if "where" in order else perform(order)
        print(json.dumps(answer), flush=True)


def perform(order: dict[str, Any]) -> bool:
    """One training; losses and weights go into the file that the order names."""
    from normlab.recipe import Recipe
    from normlab.train import EpochDone, train

    recipe = Recipe.parse(order["recipe"])
    losses: list[float] = []
    weights = np.empty(0)
    for event in train(recipe, 0, drawn(order, recipe.precision), probes=False):
        if isinstance(event, EpochDone):
            loss = event.record.train_loss
            losses += [] if loss is None else [loss]
        else:
            flat = [w.double().reshape(-1) for w in event.weights.values() if w.is_floating_point()]
            weights = torch.cat(flat).numpy()
    np.savez(order["path"], losses=np.array(losses), weights=weights)
    return True


def drawn(order: dict[str, Any], precision: str) -> Any:
    """A batch of drawn images, each class with a pattern of its own; one of them as the test."""
    from normlab.data import Split, Splits

    draw = np.random.default_rng(0)
    shape, classes, count = order["shape"], order["classes"], order["recipe"]["batch_size"]
    labels = draw.integers(classes, size=count)
    images = draw.standard_normal((classes, *shape))[labels]
    images = (images + draw.standard_normal(images.shape)).astype(np.float32)
    if precision == "float64":
        images = images.astype(np.float64)
    if order["moved"]:
        # Of the value of the leading bit: what rounds the other way in this precision.
        unit = np.exp2(np.floor(np.log2(np.abs(images))) - BITS[precision])
        images += (draw.integers(2, size=images.shape) * 2 - 1) * unit
    ends = np.full(shape[0], 3.0, np.float32)
    return Splits(
        train=Split(inputs=images, labels=labels),
        validation=Split(inputs=images[:0], labels=labels[:0]),
        test=Split(inputs=images[:1], labels=labels[:1]),
        num_classes=classes,
        class_names=tuple(str(number) for number in range(classes)),
        low=-ends,
        high=ends,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve()
    else:
        main()
