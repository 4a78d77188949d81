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
TABLE: dict[int, dict[Key, tuple[float, ...]]] = {16: {}, 8: {}}
