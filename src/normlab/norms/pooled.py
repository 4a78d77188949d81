"""Kinds described by what they pool: blocks of images and channels that share statistics.

A kind says which values share one mean and one variance (`normlab.norms.kernels.Pooling`), whether
the blocks' statistics move running ones, and whether a gate mixes in instance norm. Reference, CPU
loops and Triton kernels read this description; one fused operation with a written-out backward
serves all. Group norm in full:

    class GroupNorm(PooledNorm):
        def pooling(self, images, pixels):
            return Pooling("each", self.num_channels // self.groups)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from normlab.norms import kernels
from normlab.norms.kernels import Pooling, Running, Spec, autograd, reference
from normlab.norms.moments import MomentNorm
from normlab.norms.running import RunningStats, widened


class PooledNorm(MomentNorm):
    """Base of the kinds that normalize by the statistics of blocks; a kind overrides `pooling`.

    Attributes:
        gate: Name of the parameter of shape (C,) that holds the weight of the pooled result, the
            rest being instance norm; "" for the pooled result alone.
    """

    gate: ClassVar[str] = ""
    fused_in_eval: ClassVar[bool] = True
    """Whether evaluation, too, uses the statistics of blocks."""

    def pooling(self, images: int, pixels: int) -> Pooling:
        """Which values share statistics, in a batch of `images` images with `pixels` pixels."""
        raise NotImplementedError

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The root of the block's variance, and how far the row's mean is from the block's."""
        gate = getattr(self, self.gate) if self.gate else None
        return self.pooling(mean.shape[0], pixels).coefficients(mean, var, self.eps, gate)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; see the class for shapes.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`, or too small for the kind; a
                parameter or statistic has another shape.
            RuntimeError: x is not of real floating point numbers, or on another device.
        """
        training = self.training
        if not (training or self.fused_in_eval) or kernels.is_traced(x) or not x.numel():
            return super().forward(x)
        self.check_map(x)
        x, backend = self._readable(x)
        if not hasattr(backend, "pooled_forward"):
            return super().forward(x)
        images, _, height, width = x.shape
        pixels = height * width
        if training or self.refuses_in_eval:
            self.check_batch(images, pixels)
        own = self._parameters  # a look there takes a fifth of that at an attribute of a module
        weight: Tensor | None = own["weight"] if "weight" in own else self.weight  # noqa: SIM401
        bias: Tensor | None = own["bias"] if "bias" in own else self.bias  # noqa: SIM401
        gate = getattr(self, self.gate) if self.gate else None
        if self.gate and gate is None:
            self.check_state(x)  # raises: the loops of a gated kind read one
        if (weight is None) is not (bias is None):  # a user took one away
            weight = x.new_ones(self.num_channels) if weight is None else weight
            bias = x.new_zeros(self.num_channels) if bias is None else bias
        relu, pooling = self.folds_relu(), self.pooling(images, pixels)
        spec = Spec(pooling, self.eps, relu, weight is not None, self.gate)
        running = self._running(x) if training else None
        observed = training and self.differs_in_eval
        y, blocks = autograd.pooled(backend, spec, x, weight, bias, gate, running, observed)
        if observed and blocks is not None:
            self.check_state(x)
            self._observe_blocks(pooling, *blocks, images, pixels)
        return y if relu else self.activate(y)

    def _running(self, x: Tensor) -> Running | None:
        """Running statistics for a backend to move with the forward of maps like x."""
        return None

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """Pass the statistics of the blocks on."""
        pooling = self.pooling(len(mean), pixels)
        self._observe_blocks(pooling, *pooling.pool(mean, var), len(mean), pixels)

    def _observe_blocks(
        self, pooling: Pooling, mean: Tensor, var: Tensor, images: int, pixels: int
    ) -> None:
        """Update running statistics from those of the blocks, each (splits, groups)."""


class RunningPooledNorm(PooledNorm, RunningStats):
    """Base of the pooled kinds over single channels with running statistics for evaluation.

    Attributes:
        running: When they move: "per_batch", the splits weighted by their sizes, or "per_split".
    """

    running: str = "per_batch"
    fused_in_eval: ClassVar[bool] = False
    _moved_by_loops: ClassVar[bool] = True

    def __init_subclass__(cls, **options: object) -> None:
        """A subclass that moves its statistics its own way is asked, not a compiled loop."""
        super().__init_subclass__(**options)
        if "update_running_stats" in cls.__dict__:
            cls._moved_by_loops = False

    def eval_affine(self) -> tuple[Tensor, Tensor] | None:
        """The running statistics."""
        center, var = widened(self.running_mean), widened(self.running_var)
        return center, torch.rsqrt(var + self.eps)

    def _running(self, x: Tensor) -> Running | None:
        found = self._buffers  # a user may have taken one away
        mean, var = found["running_mean"], found["running_var"]
        batches = found["num_batches_tracked"]
        if not (
            self._moved_by_loops
            and mean is not None
            and var is not None
            and batches is not None
            and mean.dtype is var.dtype is reference.statistics_dtype(x)
            and batches.dtype is torch.int64
            and batches.is_cpu
        ):
            self.check_state(x)
            return None
        per_split = self.running == "per_split"
        return Running(mean, var, batches, self.momentum, per_split)

    @torch.no_grad()
    def _observe_blocks(
        self, pooling: Pooling, mean: Tensor, var: Tensor, images: int, pixels: int
    ) -> None:
        """Move the running statistics, variances unbiased within their split."""
        if pooling.images == "all":
            count = images * pixels
            self.update_running_stats(mean[0], var[0] * (count / (count - 1)))
            return
        sizes = torch.tensor(pooling.sizes(images), dtype=mean.dtype, device=mean.device)[:, None]
        var = var * (sizes * pixels / (sizes * pixels - 1))
        if self.running == "per_split":
            for split_mean, split_var in zip(mean, var, strict=True):
                self.update_running_stats(split_mean, split_var)
        else:
            share = sizes / images
            self.update_running_stats((share * mean).sum(0), (share * var).sum(0))
