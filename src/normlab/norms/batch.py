"""Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167).

    mean[c] = mean over n, h, w of x        var[c] = biased variance over n, h, w of x
    y = gain * (x - mean) / sqrt(var + eps) + bias

In training the running buffers follow the batch with the *unbiased* variance,
running = (1 - momentum) * running + momentum * batch; in eval they take its place, so that an
image's result does not depend on its companions. As in torch, one value per channel raises, and
momentum None averages over all batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.kernels import Pools, Running, whole_batch
from normlab.norms.moments import PooledNorm


class BatchNorm(PooledNorm):
    """Normalize per channel over batch, height and width; state as `torch.nn.BatchNorm2d`.

    Args:
        num_channels: C.
        momentum: Share of the new batch in the running statistics; None for the plain mean.
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
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def pools(self, images: int, pixels: int) -> Pools:
        """All images, every channel by itself."""
        return whole_batch(images)

    def blocks(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """In training the batch's statistics, in eval the running ones."""
        return (
            super().blocks(mean, var, pixels)
            if self.training
            else (self.running_mean, self.running_var)
        )

    def require(self, images: int, pixels: int) -> None:
        """Raise ValueError if there is one value per channel: its variance says nothing."""
        if images * pixels == 1:
            raise ValueError(
                f"{type(self).__name__} needs more than 1 value per channel when training"
            )

    def observe_blocks(self, mean: Tensor, var: Tensor, images: int, pixels: int) -> None:
        """Move the running statistics towards the batch's, variance unbiased."""
        count = images * pixels
        self.follow(mean[0], var[0] * (count / (count - 1)))

    def running_statistics(self, dtype: torch.dtype) -> Running | None:
        """The buffers."""
        return self._moved_as(BatchNorm, dtype)

    def _moved_as(
        self, kind: type[BatchNorm], dtype: torch.dtype, *, per_split: bool = False
    ) -> Running | None:
        """The buffers, unless they lie otherwise or a subclass of `kind` moves them its own way."""
        own = type(self)
        for name in ("observe_blocks", "follow", "pools"):
            if getattr(own, name) is not getattr(kind, name):
                return None
        mean, var = self.running_mean, self.running_var
        for buffer in (mean, var):
            if buffer.dtype is not dtype or not buffer.is_cpu or not buffer.is_contiguous():
                return None
        return Running(mean, var, self.num_batches_tracked, self.momentum, per_split)

    def follow(self, mean: Tensor, var: Tensor) -> None:
        """Move the running mean and variance, each (C,), by the momentum."""
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(var.to(self.running_var.dtype), share)

    def fixed(self) -> tuple[Tensor, Tensor] | None:
        """The running statistics."""
        return self.running_mean, torch.rsqrt(self.running_var + self.eps)
