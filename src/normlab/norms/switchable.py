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

from normlab.norms.batch import BatchNorm
from normlab.norms.kernels import each_image, whole_batch


class SwitchableNorm(BatchNorm):
    """A learned mix of instance, layer and batch statistics; weights in that order, shape (3,).

    Args as `BatchNorm`.

    Raises:
        ValueError: In training, on 1x1 maps or one value per channel.
    """

    parameter_roles: ClassVar[dict[str, str]] = {
        **BatchNorm.parameter_roles,
        "mean_weight": "gate",
        "var_weight": "gate",
    }
    is_pooled: ClassVar[bool] = False  # more than the statistics of blocks

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
        """The mixed variance's root, and the row's mean less the mixed one.

        The weights sum to 1, so that difference is a mix of differences: exact at large means.
        """
        layer = each_image(len(mean), self.num_channels)
        layer_mean, layer_var = (layer.spread(block) for block in layer.pool(mean, var))
        batch_mean, batch_var = self.blocks(mean, var, pixels)
        w, v = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        scale = torch.rsqrt(v[0] * var + v[1] * layer_var + v[2] * batch_var + self.eps)
        return scale, (w[1] * (mean - layer_mean) + w[2] * (mean - batch_mean)) * scale

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """As batch norm."""
        self.observe_blocks(*whole_batch(len(mean)).pool(mean, var), len(mean), pixels)

    def fixed(self) -> None:
        """Nothing is fixed in eval: instance and layer statistics depend on the image."""

    def require(self, images: int, pixels: int) -> None:
        """Raise ValueError where one of the parts cannot stand."""
        super().require(images, pixels)
        if pixels == 1:
            raise ValueError("SwitchableNorm needs more than 1 spatial element when training")
