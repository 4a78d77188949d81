"""Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167).

    mean[c] = mean over n, h, w of x        var[c] = biased variance over n, h, w of x
    y = gain * (x - mean) / sqrt(var + eps) + bias

In training the running buffers follow the batch with the *unbiased* variance,
running = (1 - momentum) * running + momentum * batch; in eval they take its place, so that an
image's result does not depend on its companions. As in torch, one value per channel raises.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.moments import MomentNorm


class BatchNorm(MomentNorm):
    """Normalize per channel over batch, height and width; state as `torch.nn.BatchNorm2d`.

    Args:
        num_channels: C.
        momentum: Share of the new batch in the running statistics.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Raises:
        ValueError: In training, on input with one value per channel.
    """

    running_mean: Tensor
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
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Pool the moments of all images: var = mean of variances + variance of means."""
        count = mean.shape[0] * pixels
        if count == 1:
            raise ValueError("BatchNorm needs more than 1 value per channel when training")
        between, batch_mean = torch.var_mean(mean, dim=0, correction=0)
        batch_var = var.mean(dim=0) + between
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(batch_mean.to(self.running_mean.dtype), self.momentum)
            unbiased = batch_var * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = torch.rsqrt(batch_var + self.eps)
        return scale, (mean - batch_mean) * scale

    def fixed(self) -> tuple[Tensor, Tensor]:
        """The running statistics."""
        return self.running_mean, torch.rsqrt(self.running_var + self.eps)
