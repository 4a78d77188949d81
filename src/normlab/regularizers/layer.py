"""What the layers that drop something at random share."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class RandomLayer(nn.Module):
    """A layer that multiplies by a random mask in training; the identity in eval and at p = 0.

    Differs from torch's dropouts in where the randomness comes from: a generator of its own, which
    the training loop seeds per epoch, so that neither other layers nor what ran before can move it.

    Attributes:
        p: What the kind calls its probability, at least 0 and below 1.
        generator: Source of the masks, on the device of the input; None is torch's global one.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}: at least 0 and below 1 is allowed")
        super().__init__()
        self.p = p

    @abstractmethod
    def drop(self, x: Tensor) -> Tensor:
        """Return x with a part dropped and the rest scaled so that its expectation stays."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training with a part dropped."""
        return self.drop(x) if self.training and self.p else x

    def extra_repr(self) -> str:
        """The probability, as torch prints it."""
        return f"p={self.p}"
