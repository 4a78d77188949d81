"""Switchable normalization (Luo et al. 2018, arXiv:1806.10779).

    mean = w_in * mean_in + w_ln * mean_ln + w_bn * mean_bn        w = softmax(mean_weight)
    var  = v_in * var_in  + v_ln * var_ln  + v_bn * var_bn         v = softmax(var_weight)
    y = gain * (x - mean) / sqrt(var + eps) + bias

Instance, layer and batch statistics are mixed with learned weights, one softmax for means and
another for variances. The batch part keeps running statistics as batch norm does (the paper
averages over batches after training).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normlab.norms.kernels import Pooling
from normlab.norms.moments import MomentNorm
from normlab.norms.norm import State
from normlab.norms.running import RunningStats


class SwitchableNorm(MomentNorm, RunningStats):
    """A learned mix of instance, layer and batch statistics; weights in that order, shape (3,).

    Arguments as for `BatchNorm`.

    Raises:
        ValueError: In training, on 1x1 maps or one value per channel.
    """

    parameter_roles: ClassVar[dict[str, str]] = {
        **RunningStats.parameter_roles,
        "mean_weight": "gate",
        "var_weight": "gate",
    }
    softmax_gates: ClassVar[tuple[str, ...]] = ("mean_weight", "var_weight")

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(
            num_channels, momentum=momentum, eps=eps, affine=affine, activation=activation
        )
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The root of the mixed variance, and the row's mean minus the mixed mean.

        The weights sum to 1, so that difference is a mix of differences: exact at large means.
        """
        layer = Pooling("each", self.num_channels)
        layer_mean, layer_var = (layer.spread(block) for block in layer.pool(mean, var))
        if self.training:
            batch_mean, batch_var = Pooling("all", 1).pool(mean, var)
        else:  # copies: the buffers may move before a backward
            buffers = self.running_mean, self.running_var
            batch_mean, batch_var = (buffer.to(mean.dtype, copy=True) for buffer in buffers)
        w, v = (weight.to(mean.dtype).softmax(0) for weight in (self.mean_weight, self.var_weight))
        scale = torch.rsqrt(v[0] * var + v[1] * layer_var + v[2] * batch_var + self.eps)
        return scale, (w[1] * (mean - layer_mean) + w[2] * (mean - batch_mean)) * scale

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """As in batch norm."""
        batch_mean, batch_var = (moment[0] for moment in Pooling("all", 1).pool(mean, var))
        count = mean.shape[0] * pixels
        self.update_running_stats(batch_mean, batch_var * (count / (count - 1)))

    def state(self) -> State:
        """As for all norms with running statistics, and the mixing weights."""
        yield from super().state()
        yield "mean_weight", self.mean_weight, (3,)
        yield "var_weight", self.var_weight, (3,)

    def reset_parameters(self) -> None:
        """Reset everything; the mixing weights become equal."""
        super().reset_parameters()
        nn.init.ones_(self.mean_weight)
        nn.init.ones_(self.var_weight)

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError if one of the parts cannot normalize the batch."""
        if images * pixels == 1:
            raise ValueError("SwitchableNorm needs more than 1 value per channel when training")
        if pixels == 1:
            raise ValueError("SwitchableNorm needs more than 1 spatial element when training")
