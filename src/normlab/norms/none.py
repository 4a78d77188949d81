"""No normalization: y = activation(x).

It stands where a norm would, so that "no norm" is one more kind and not a special case of every
model. It has no parameters, and no eps or affine to set.
"""

from __future__ import annotations

from torch import Tensor, nn

from normlab.norms.activations import ACTIVATIONS


class NoNorm(nn.Module):
    """The identity, followed by the activation if there is one. Any shape."""

    def __init__(self, num_channels: int, *, activation: str | None = None) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.activation = ACTIVATIONS[activation]() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        """Return x, activated."""
        return x if self.activation is None else self.activation(x)
