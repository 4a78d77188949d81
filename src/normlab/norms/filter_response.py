"""Filter response normalization with thresholded linear unit (Singh & Krishnan 2020, 1911.09737).

    nu2[n,c] = mean over h, w of x^2        y = max(gain * x / sqrt(nu2 + eps) + bias, tau)

tau is learned per channel and starts at 0. It takes the activation's place: a ReLU behind it would
undo what tau learned. No batch statistics. On 1x1 maps eps is learned as well (there the result
would be a bare sign), as |eps| in a parameter, following the paper.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normlab.norms.kernels.reference import statistics_dtype
from normlab.norms.base import Norm


class FilterResponseNorm(Norm):
    """Divide each channel of each image by its root mean square, then max(., tau).

    Args:
        num_channels: C.
        learned_eps: Learn eps per channel, for 1x1 maps.
        eps: Added to the mean square inside the root.
        affine: Learn gain and bias per channel.
        activation: Must be None: the threshold is the activation.

    Raises:
        ValueError: An activation is asked for.
    """

    parameter_roles: ClassVar[dict[str, str]] = {
        **Norm.parameter_roles,
        "tau": "norm_bias",
        "learned_eps": "norm_bias",
    }
    contains_activation: ClassVar[bool] = True

    def __init__(
        self,
        num_channels: int,
        *,
        learned_eps: bool = False,
        eps: float = 1e-6,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        if activation is not None:
            raise ValueError("FilterResponseNorm contains its activation: none may follow it")
        super().__init__(num_channels, eps=eps, affine=affine)
        self.tau = nn.Parameter(torch.zeros(num_channels))
        self.learned_eps = nn.Parameter(torch.full((num_channels,), eps)) if learned_eps else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and threshold x, shape (N, C, H, W)."""
        self.check_map(x)
        wide = x.to(statistics_dtype(x))
        square = wide.square().mean(dim=(2, 3), keepdim=True) if x.numel() else wide
        eps = self.eps if self.learned_eps is None else self.learned_eps.abs()[:, None, None]
        y = wide * torch.rsqrt(square + eps)
        if self.weight is not None and self.bias is not None:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return torch.maximum(y, self.tau[:, None, None]).to(x.dtype)
