"""Inverted dropout (Srivastava et al. 2014).

    y = x * mask / (1 - p),  mask ~ Bernoulli(1 - p) per element, in training; y = x in eval

Differs from `torch.nn.Dropout` in where its randomness comes from: a generator of its own, which
the training loop seeds per epoch, so that neither other layers nor what ran before can move it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropout(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each element of x with probability p and scale the rest by 1 / (1 - p); any shape."""
    keep = torch.empty_like(x).bernoulli_(1 - p, generator=generator)
    return x * keep.div_(1 - p)


class Dropout(nn.Module):
    """Dropout with probability `p` in training; the identity in eval and at p = 0.

    Attributes:
        generator: Source of the masks, on the device of the input; None is torch's global one.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}: at least 0 and below 1 is allowed")
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training with elements dropped."""
        return dropout(x, self.p, self.generator) if self.training and self.p else x

    def extra_repr(self) -> str:
        """The probability, as torch prints it."""
        return f"p={self.p}"
