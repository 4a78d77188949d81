"""EvoNorm S0 and B0: normalization and activation in one layer (Liu et al. 2020, arXiv:2004.02967).

    S0: y = x * sigmoid(v * x) / std_group(x) * gain + bias
    B0: y = x / max(std_batch(x), v * x + std_instance(x)) * gain + bias

v is learned per channel. S0 needs no batch; B0 keeps a running batch variance as batch norm does
and uses it in eval. An activation behind them would be a second one.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normlab.norms.group import check_groups
from normlab.norms.kernels import Pooling, reference
from normlab.norms.kernels.reference import statistics_dtype
from normlab.norms.base import Norm


class _EvoNorm(Norm):
    """What S0 and B0 share: v, and that no activation may follow."""

    parameter_roles: ClassVar[dict[str, str]] = {**Norm.parameter_roles, "v": "norm_gain"}
    contains_activation: ClassVar[bool] = True

    def __init__(
        self, num_channels: int, *, eps: float, affine: bool, activation: str | None
    ) -> None:
        if activation is not None:
            raise ValueError(f"{type(self).__name__} contains its activation: none may follow it")
        super().__init__(num_channels, eps=eps, affine=affine)
        self.v = nn.Parameter(torch.ones(num_channels))

    def _with_affine(self, y: Tensor, x: Tensor) -> Tensor:
        if self.weight is not None and self.bias is not None:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


class EvoNormS0(_EvoNorm):
    """x * sigmoid(v x) over the standard deviation of its group of channels.

    Args:
        num_channels: C.
        groups: Number of groups; must divide C. Give this or `channels_per_group`.
        channels_per_group: Size of a group; must divide C.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Must be None: the sigmoid is the activation.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        groups: int | None = None,
        channels_per_group: int | None = None,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        self.groups = check_groups("EvoNormS0", num_channels, groups, channels_per_group)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and activate x, shape (N, C, H, W)."""
        self.check_map(x)
        if not x.numel():
            return x
        wide = x.to(statistics_dtype(x))
        grouped = (wide * torch.sigmoid(self.v[:, None, None] * wide)).reshape(
            len(x), self.groups, -1
        )
        var = wide.reshape(grouped.shape).var(2, correction=0, keepdim=True)
        return self._with_affine((grouped * torch.rsqrt(var + self.eps)).reshape(x.shape), x)


class EvoNormB0(_EvoNorm):
    """x over the larger of its batch deviation and v x + its instance deviation.

    Args:
        num_channels: C.
        momentum: Share of the new batch in the running variance.
        eps: Added to variances inside roots.
        affine: Learn gain and bias per channel.
        activation: Must be None: the maximum is the activation.

    Raises:
        ValueError: In training, on input with one value per channel.
    """

    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        self.momentum = momentum
        self.register_buffer("running_var", torch.ones(num_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and activate x, shape (N, C, H, W)."""
        self.check_map(x)
        if not x.numel():
            return x
        count = x.numel() // self.num_channels
        if self.training and count == 1:
            raise ValueError("EvoNormB0 needs more than 1 value per channel when training")
        mean, var = reference.moments(x)
        batch_var = self.running_var
        if self.training:
            batch_var = Pooling("all", 1).pool(mean, var)[1][0]
            with torch.no_grad():
                self.num_batches_tracked += 1
                unbiased = batch_var * (count / (count - 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        wide = x.to(statistics_dtype(x))
        batch_std = torch.sqrt(batch_var + self.eps)[:, None, None]
        instance_std = torch.sqrt(var + self.eps)[..., None, None]
        lower = self.v[:, None, None] * wide + instance_std
        return self._with_affine(wide / torch.maximum(batch_std, lower), x)
