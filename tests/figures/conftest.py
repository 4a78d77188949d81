"""Frames made by hand: what each figure's data must be is known from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from tests.plans import plan_of

from normlab.frames import Frames

Make = Callable[..., Frames]


def made(
    values: Mapping[str, Sequence[Sequence[float]]],
    *,
    details: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    states: Mapping[tuple[str, int], str] | None = None,
    **plan: Any,
) -> Frames:
    """A study with these accuracies: per arm, seed and epoch, the same on all splits.

    An epoch has 100 training images and takes 2 seconds; its loss is 1 minus the accuracy.
    """
    trials, epochs = [], []
    for arm, seeds in values.items():
        for seed, accuracies in enumerate(seeds):
            ids = {"arm": arm, "seed": seed, "id": f"{arm}{seed}"}
            last: dict[str, Any] = {}
            for epoch, accuracy in enumerate(accuracies, start=1):
                given = (details or {}).get(arm, ())
                last = {"epoch": epoch, "seconds": 2.0, "lr": 0.1,
                        "details": given[epoch - 1] if given else {}}  # fmt: skip
                for split in ("train", "validation", "test"):
                    last |= {f"{split}_accuracy": accuracy, f"{split}_loss": 1 - accuracy}
                epochs.append({**ids, **last})
            state = (states or {}).get((arm, seed), "complete")
            trials.append({**ids, **last, "state": state, "seconds": 2.0 * len(accuracies),
                           "train_images": 100, "test_images": 1000, "gap": 0.01})  # fmt: skip
    seeds = list(range(max(map(len, values.values()))))
    arms = [{"label": arm, "classes": 10} for arm in values]
    return Frames(
        plan_of(plan.pop("arms", arms), **{"seeds": seeds, **plan}),
        pd.DataFrame(trials),
        pd.DataFrame(epochs),
    )


@pytest.fixture
def make() -> Make:
    return made
