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
from normlab.norms.kernels.reference import statistics_dtype
from normlab.norms.norm import Norm, State
from normlab.norms.running import RunningStats, moved
from normlab.norms.spread import scaled_root, scaled_variance, unit_scale


class _EvoNorm(Norm):
    """What S0 and B0 share: v, and that no activation may follow."""

    parameter_roles: ClassVar[dict[str, str]] = {**Norm.parameter_roles, "v": "norm_gain"}
    contains_activation: ClassVar[bool] = True

    def __init__(
        self, num_channels: int, *, eps: float, affine: bool, activation: str | None
    ) -> None:
        if activation is not None:
            raise ValueError(f"{type(self).__name__} contains its activation: none may follow it")
        Norm.__init__(self, num_channels, eps=eps, affine=affine)
        self.v = nn.Parameter(torch.ones(num_channels))

    def reset_parameters(self) -> None:
        """Set gain and v to 1, bias to 0."""
        super().reset_parameters()
        nn.init.ones_(self.v)

    def state(self) -> State:
        """As every norm, and v."""
        yield from super().state()
        yield "v", self.v, (self.num_channels,)

    def _widened(self, x: Tensor) -> Tensor:
        """The map in the dtype of its statistics, after checks of the map and the layer's state."""
        self.check_map(x)
        self.check_state(x)
        return x.to(statistics_dtype(x))


class EvoNormS0(_EvoNorm):
    """x * sigmoid(v x) divided by the standard deviation of its group of channels.

    Args:
        num_channels: Number of channels C.
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
        """Normalize and activate x, shape (N, C, H, W).

        Raises:
            RuntimeError: x is of integers or complex numbers, or on another device.
            ValueError: x is not (N, C, H, W), or a parameter is not of C values.
        """
        wide = self._widened(x)
        if not x.numel():
            return self.of_nothing(x)
        grouped = wide.unflatten(1, (self.groups, -1))  # type: ignore[no-untyped-call]
        scale = unit_scale(grouped, (2, 3, 4))
        std = scaled_root(scaled_variance(grouped, scale, (2, 3, 4)), scale, self.eps)
        factor = (scale / std).expand(-1, -1, grouped.shape[2], -1, -1).flatten(1, 2)
        y = wide * torch.sigmoid(self.v[:, None, None] * wide)
        if self.weight is not None:
            factor = factor * self.weight[:, None, None]
        y = y * factor if self.bias is None else torch.addcmul(self.bias[:, None, None], y, factor)
        return y.to(x.dtype)


class EvoNormB0(_EvoNorm, RunningStats):
    """x divided by the larger of its batch deviation and v x + its instance deviation.

    Args:
        num_channels: Number of channels C.
        momentum: Weight of the new batch in the running variance; None for the mean of all.
        eps: Added to variances inside roots.
        affine: Learn gain and bias per channel.
        activation: Must be None: the maximum is the activation.

    Raises:
        ValueError: In training, on input with one value per channel.
    """

    uses_batch_statistics: ClassVar[bool] = True
    differs_in_eval: ClassVar[bool] = True
    statistics: ClassVar[dict[str, float]] = {"running_var": 1.0}

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        _EvoNorm.__init__(self, num_channels, eps=eps, affine=affine, activation=activation)
        self._track(momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and activate x, shape (N, C, H, W).

        Raises:
            RuntimeError: x is of integers or complex numbers, or on another device.
            ValueError: x is not (N, C, H, W), a parameter or buffer is not of C values, or one
                value per channel in training.
        """
        wide = self._widened(x)
        if not x.numel():
            return self.of_nothing(x)
        if self.training:
            count = x.shape[0] * x.shape[2] * x.shape[3]
            if count == 1:
                raise ValueError("EvoNormB0 needs more than 1 value per channel when training")
            scale = unit_scale(wide, (0, 2, 3))
            var = scaled_variance(wide, scale, (0, 2, 3))
            batch_std = scaled_root(var, scale, self.eps) / scale
            with torch.no_grad():
                self._update_running_stats((var / scale / scale).flatten(), count)
        else:
            running = self.running_var.to(wide.dtype)
            batch_std = torch.sqrt(running + self.eps)[:, None, None]
        scale = unit_scale(wide, (2, 3))
        std = scaled_root(scaled_variance(wide, scale, (2, 3)), scale, self.eps) / scale
        lower = torch.addcmul(std, self.v[:, None, None], wide)
        y = wide / torch.maximum(batch_std, lower)
        if self.weight is not None:
            y = y * self.weight[:, None, None]
        return (y if self.bias is None else y + self.bias[:, None, None]).to(x.dtype)

    def _update_running_stats(self, var: Tensor, count: int) -> None:
        """Move the running variance towards the unbiased one of a batch; an empty one is counted.

        It stays finite: in float16 a variance above 65,504 is kept as that.
        """
        share = self.count_batch()
        if count:
            self.running_var.clamp_(max=torch.finfo(self.running_var.dtype).max)
            largest = min(torch.finfo(t.dtype).max for t in (self.running_var, var))
            moved(self.running_var, (var * (count / (count - 1))).clamp(max=largest), share)
