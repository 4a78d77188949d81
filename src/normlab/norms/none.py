"""No normalization: y = activation(x).

It stands where a norm would, so that "no norm" is one more kind and not a special case of every
model. It has no parameters, and no eps or affine to set.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from normlab.norms.activations import ACTIVATIONS


class NoNorm(nn.Module):
    """The identity, followed by the activation if there is one. Any shape."""

    uses_batch_statistics: ClassVar[bool] = False
    differs_in_eval: ClassVar[bool] = False
    contains_activation: ClassVar[bool] = False
    keeps_conv_bias: ClassVar[bool] = True

    def __init__(self, num_channels: int, *, activation: str | None = None) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.activation = ACTIVATIONS[activation]() if activation else None

    def reset_parameters(self) -> None:
        """Nothing: it has no parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, activated."""
        return x if self.activation is None else self.activation(x)
