"""What lanes gain over the torch path: a static table, for plans; nothing is chosen by it.

`benchmarks/lanes.py --write` makes the table at the end from its rows in `benchmarks/results/`.
"""

from __future__ import annotations

import json
import math

from normlab.native import compiled
from normlab.train.lanes.rule import Form, lanes_for

SIZES = (1, 4, 8, 16)
"""Trials of the groups that were timed: as many as lanes, and one in the narrowest program."""


def gain(form: Form, trials: int) -> float:
    """Seconds of a training step on the torch path by those of a trial in a group of so many.

    Of the nearest row: the same model, then the same images, the same norm, the nearest batch size.
    Of a model that is not in the table it is the least of all.

    Args:
        form: The group's.
        trials: From 1 to `rule.size()`. Empty lanes take as long as others.
    """
    table = TABLE[compiled.lanes()]
    model, *wanted, batch = key(form)
    rows = [row for row in table if row[0] == model]
    if not rows:
        return min((_of(gains, trials) for gains in table.values()), default=1.0)

    def distance(row: Key) -> tuple[bool, bool, float]:
        return row[1] != wanted[0], row[2] != wanted[1], abs(math.log2(row[3] / batch))

    return _of(table[min(rows, key=distance)], trials)


Key = tuple[str, str, str, int]
"""Model with its width, shape of an image, kind of norm, batch size."""


def key(form: Form) -> Key:
    """A form's row in the table."""
    model, norm = json.loads(form.model), json.loads(form.norm)
    name = f"{model['kind']} of {model['width']}" if "width" in model else model["kind"]
    return name, "x".join(map(str, form.shape)), norm["kind"], form.batch_size


def _of(gains: tuple[float, ...], trials: int) -> float:
    """The gain of a group of so many by those of groups of `SIZES`."""
    if trials == 1:
        return gains[0]
    lanes = lanes_for(trials)
    return gains[SIZES.index(lanes)] * trials / lanes


# From here on written by the script.
TABLE: dict[int, dict[Key, tuple[float, ...]]] = {
    16: {
        ("digits-small", "1x8x8", "batch", 32): (0.38, 1.38, 2.61, 4.37),
        ("digits-small", "1x8x8", "group", 32): (0.45, 1.65, 2.98, 4.39),
        ("digits-small", "1x8x8", "instance", 32): (0.39, 1.85, 3.05, 3.90),
        ("digits-small", "1x8x8", "layer", 32): (0.39, 1.36, 2.36, 3.44),
        ("digits-small", "1x8x8", "none", 32): (0.41, 1.55, 2.80, 4.62),
        ("mnist-7288", "1x28x28", "batch", 128): (0.19, 0.76, 1.36, 2.05),
        ("mnist-7288", "1x28x28", "ghost_batch", 256): (0.18, 0.68, 1.35, 2.10),
        ("mnist-7704", "1x28x28", "batch", 32): (0.34, 1.32, 2.16, 3.00),
        ("mnist-7704", "1x28x28", "batch", 64): (0.28, 1.01, 1.77, 2.43),
        ("mnist-7704", "1x28x28", "batch", 128): (0.24, 0.92, 1.66, 2.29),
        ("mnist-7704", "1x28x28", "group", 32): (0.38, 1.20, 2.05, 2.79),
        ("mnist-7704", "1x28x28", "group", 64): (0.27, 1.04, 1.85, 2.50),
        ("mnist-7704", "1x28x28", "group", 128): (0.27, 0.90, 1.57, 2.28),
        ("mnist-7704", "1x28x28", "layer", 32): (0.37, 1.39, 2.02, 2.82),
        ("mnist-7704", "1x28x28", "layer", 64): (0.28, 1.04, 1.66, 2.24),
        ("mnist-7704", "1x28x28", "layer", 128): (0.25, 0.93, 1.57, 2.16),
        ("resnet of 4", "3x32x32", "batch", 32): (0.46, 1.80, 3.00, 4.19),
        ("resnet of 8", "3x32x32", "batch", 32): (0.21, 0.84, 1.51, 2.12),
    },
    8: {
        ("digits-small", "1x8x8", "batch", 32): (0.50, 2.11, 3.92),
        ("digits-small", "1x8x8", "group", 32): (0.54, 1.91, 3.22),
        ("digits-small", "1x8x8", "instance", 32): (0.56, 2.04, 3.48),
        ("digits-small", "1x8x8", "layer", 32): (0.46, 1.75, 2.99),
        ("digits-small", "1x8x8", "none", 32): (0.55, 2.10, 3.61),
        ("mnist-7288", "1x28x28", "batch", 128): (0.20, 0.79, 1.58),
        ("mnist-7288", "1x28x28", "ghost_batch", 256): (0.20, 0.76, 1.49),
        ("mnist-7704", "1x28x28", "batch", 64): (0.32, 1.14, 1.95),
        ("mnist-7704", "1x28x28", "layer", 64): (0.30, 1.11, 1.87),
    },
}
