"""What watches the first epoch of a training for one kind of intervention."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from normlab.records import Check


class Watcher:
    """Looks on while the first epoch is trained, changes nothing, and says what it saw.

    The training loop calls the methods in this order; those a watcher does not need do nothing.
    """

    def batch(self, raw: Tensor, given: Tensor) -> None:
        """The step's images as they are stored and as the model gets them."""

    def loss(self, loss: Tensor) -> None:
        """The step's loss, a scalar; backward is done."""

    def gradients(self) -> None:
        """Backward is done: the gradients are those of the loss alone."""

    def updated(self, stage: str) -> None:
        """In one step amid the epoch: `loss`, `l1`, `l2`, `clip`, `decay`, `step` is done."""

    def evaluating(self) -> None:
        """The epoch's steps are done; what runs from now on is evaluation."""

    def conclude(self) -> Iterator[Check]:
        """What was declared and what was found."""
        yield from ()

    def close(self) -> None:
        """Take away every hook."""
