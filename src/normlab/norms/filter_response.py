"""Filter response normalization with thresholded linear unit (Singh & Krishnan 2020, 1911.09737).

    nu2[n,c] = mean over h, w of x^2        y = max(gain * x / sqrt(nu2 + eps) + bias, tau)

tau is learned per channel and starts at 0. It takes the activation's place: a ReLU behind it would
undo what tau learned. No batch statistics. On 1x1 maps, where the result would be a bare sign, the
paper learns eps as well: eps = 1e-6 + |learned_eps|, one value per channel that starts at 1e-4.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normlab.norms.kernels.reference import statistics_dtype
from normlab.norms.norm import Norm, State
from normlab.norms.spread import scaled_root, unit_scale

LEARNED_EPS = 1e-4
"""Where the learned part of eps starts."""


class FilterResponseNorm(Norm):
    """Divide each channel of each image by its root mean square, then max(., tau).

    Args:
        num_channels: Number of channels C.
        learned_eps: Add a learned ``|eps|`` per channel to eps, for 1x1 maps.
        eps: Added to the mean square inside the root.
        affine: Learn gain and bias per channel.
        activation: Must be None: the threshold is the activation.

    Raises:
        ValueError: An activation is requested.
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
        start = torch.full((num_channels,), LEARNED_EPS)
        self.learned_eps = nn.Parameter(start) if learned_eps else None

    def reset_parameters(self) -> None:
        """Set the gain to 1, bias and tau to 0, the learned part of eps to 1e-4."""
        super().reset_parameters()
        nn.init.zeros_(self.tau)
        if self.learned_eps is not None:
            nn.init.constant_(self.learned_eps, LEARNED_EPS)

    def state(self) -> State:
        """As for every norm, and the threshold and the learned part of eps."""
        yield from super().state()
        yield "tau", self.tau, (self.num_channels,)
        if self.learned_eps is not None:
            yield "learned_eps", self.learned_eps, (self.num_channels,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and threshold x, shape (N, C, H, W).

        Raises:
            RuntimeError: x is of integers or complex numbers, or on another device.
            ValueError: x is not (N, C, H, W), or a parameter is not of C values.
        """
        self.check_map(x)
        self.check_state(x)
        if not x.numel():
            return self.of_nothing(x)
        wide = x.to(statistics_dtype(x))
        scale = unit_scale(wide, (2, 3))
        scaled = wide * scale
        eps: float | Tensor = self.eps
        if self.learned_eps is not None:
            eps = self.eps + self.learned_eps.to(wide.dtype).abs()[:, None, None]
        root = scaled_root(scaled.square().mean((2, 3), keepdim=True), scale, eps)
        gain = 1 if self.weight is None else self.weight[:, None, None]
        factor = gain / root
        if self.bias is None:
            y = scaled * factor
        else:
            # Contiguous: by its first argument an operation decides how the result lies.
            y = torch.addcmul(self.bias.contiguous()[:, None, None], scaled, factor)
        return torch.maximum(y, self.tau[:, None, None]).to(x.dtype)
