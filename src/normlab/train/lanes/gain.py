"""How much faster a trial's steps are in a group: a static table, for plans."""

from __future__ import annotations

from normlab.train.lanes.rule import Form, lanes_for

_GAINS = {4: 0.75, 8: 1.35, 16: 2.1}
"""By lanes; rough: MNIST-7288 and -7704, one thread, on a machine that did other things too."""


def gain(form: Form, trials: int) -> float:
    """Seconds of a training step on torch's path by those of a trial in a group of so many.

    A program takes as long for every lane it has, used or not.
    """
    lanes = lanes_for(trials)
    return _GAINS[lanes] * trials / lanes
