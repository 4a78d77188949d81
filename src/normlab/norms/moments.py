"""The one mechanism behind the norms.

With mean[n,c] and var[n,c] the moments of x over height and width, a norm is

    y = gain[c] * (scale[n,c] * (x - mean[n,c]) + shift[n,c]) + bias[c],

and a kind is the few lines that turn (mean, var) into (scale, shift): see `coefficients`. The
work on the big tensor is done by two primitive functions, `moments` and `affine`, which have
backends of their own; an own kind gets those for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normlab.errors import unknown
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.kernels import affine, moments


class MomentNorm(nn.Module):
    """Base of the norms that are an affine map of (N, C, H, W) with statistics-based factors.

    Args:
        num_channels: C, the number of channels.
        eps: Added to the variance inside the root.
        affine: Learn a gain (starting at 1) and a bias (starting at 0) per channel.
        activation: Name of the activation applied to the result, or None.

    Shape:
        Input and output (N, C, H, W). Statistics are computed in float32 or wider.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        if num_channels < 1:
            raise ValueError(f"num_channels is {num_channels}: at least 1 is needed")
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(unknown("activation", activation, ACTIVATIONS))
        super().__init__()
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.activation = ACTIVATIONS[activation]() if activation else None
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """From moments to factors: the few lines that make a kind.

        Args:
            mean: Mean per image and channel, shape (N, C).
            var: Biased variance per image and channel, shape (N, C).
            pixels: H * W, the number of values behind each.

        Returns:
            `scale` and `shift` of the normalized map ``scale * (x - mean) + shift``, before
            gain and bias; both of a shape that broadcasts to (N, C).
        """
        raise NotImplementedError

    def fixed(self) -> tuple[Tensor, Tensor] | None:
        """Center and scale per channel that hold in eval mode, or None if they depend on x."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; see the class for shapes.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`, or too small for the kind.
        """
        if x.dim() != 4 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"{type(self).__name__} expects (N, {self.num_channels}, H, W), "
                f"got {tuple(x.shape)}"
            )
        fixed = None if self.training else self.fixed()
        if fixed is None:
            center, var = moments(x)
            scale, shift = self.coefficients(center, var, x.shape[2] * x.shape[3])
        else:
            center, scale = fixed
            shift = torch.zeros_like(center)
        if self.weight is not None and self.bias is not None:
            scale = scale * self.weight
            shift = torch.addcmul(self.bias, shift, self.weight)
        y = affine(x, center, scale, shift)
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        """Channels and options, as torch prints them."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"
