"""What the layers that drop something at random share."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from normlab.regularizers.draws import check_p


class RandomLayer(nn.Module):
    """A layer that multiplies by a random mask in training; the identity in eval and at p = 0.

    Differs from torch's dropouts in where the randomness comes from: its own generator, which
    the training loop seeds per step, so that neither other layers nor earlier calls can affect it.
    Under activation checkpointing a recomputed forward has the mask of the first one, with either
    source (see `normlab.regularizers.draws`). `torch.compile` takes torch's state into its graph
    and breaks the graph at a generator.

    Attributes:
        p: The probability of the kind, at least 0 and below 1.
        generator: Source of the masks, on the device of the input; None for torch's global one.

    Raises:
        ValueError: `p` is below 0, 1 or above.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        check_p(p)
        super().__init__()
        self.p = p

    @abstractmethod
    def drop(self, x: Tensor) -> Tensor:
        """Return x with a part dropped and the rest scaled to keep its expectation."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training with a part dropped."""
        return self.drop(x) if self.training and self.p else x

    def extra_repr(self) -> str:
        """The probability, as torch prints it."""
        return f"p={self.p}"
