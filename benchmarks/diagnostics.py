"""What liveness checks and diagnostics cost: an epoch with each, over an epoch without.

    python benchmarks/diagnostics.py

The 7,288-parameter net on made-up images of MNIST's size (6,400 for training, 1,000 for test),
batch 128, batch norm. All variants train one epoch in turn, round after round; shown is the median
of the ratios to the plain epoch of the same round: whole time, evaluation included. An epoch of the
real MNIST has nine times the steps, so that what is paid once an epoch weighs less there.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch

from normlab.data import Split, Splits
from normlab.recipe import Recipe
from normlab.train import keep_freed_memory, train

ROUNDS = 15
BASE = {
    "data": "mnist",
    "model": "mnist-7288",
    "norm": "batch",
    "batch_size": 128,
    "epochs": 1,
    "lr": 0.02,
}
VARIANTS: dict[str, tuple[dict[str, object], bool]] = {
    "liveness checks (once a trial, in its first epoch)": ({}, True),
    "gradient_norm": ({"diagnostics": ["gradient_norm"]}, False),
    "activations": ({"diagnostics": ["activations"]}, False),
    "train": ({"diagnostics": ["train"]}, False),
}


def splits() -> Splits:
    random = np.random.RandomState(0)

    def made(count: int) -> Split:
        inputs = random.randn(count, 1, 28, 28).astype(np.float32)
        return Split(inputs=inputs, labels=random.randint(0, 10, count))

    return Splits(
        train=made(6400),
        validation=made(256),
        test=made(1000),
        num_classes=10,
        class_names=tuple("0123456789"),
        low=np.zeros(1, np.float32),
        high=np.ones(1, np.float32),
    )


def seconds(recipe: Recipe, data: Splits, *, probes: bool) -> float:
    """From the first step to the record of the first epoch."""
    events = train(recipe, 0, data, probes=probes)
    start = time.perf_counter()
    next(events)
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    data, plain = splits(), Recipe.parse(BASE)
    ratios: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(ROUNDS + 1):
        base = seconds(plain, data, probes=False)
        for name, (values, probes) in VARIANTS.items():
            ratio = seconds(Recipe.parse({**BASE, **values}), data, probes=probes) / base
            if number:  # the first round warms up
                ratios[name].append(ratio)
    print(f"torch {torch.__version__}, 1 thread, {ROUNDS} rounds, plain epoch {base:.2f} s")
    for name, found in ratios.items():
        low, high = np.quantile(found, [0.25, 0.75])
        print(f"{name:52s} {median(found):.3f}   (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
