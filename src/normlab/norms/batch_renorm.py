"""Batch renormalization (Ioffe 2017, arXiv:1702.03275).

    r = clip(sigma_B / sigma, 1 / rmax, rmax)        d = clip((mean_B - mu) / sigma, -dmax, dmax)
    y = gain * ((x - mean_B) / sigma_B * r + d) + bias

mu and sigma are the running mean and the running *standard deviation*; r and d count as constants:
no gradient goes through them. With r = 1, d = 0 it is batch norm; rmax and dmax open with the
progress of the training, by default from (1, 0) over the first 5 % linearly to rmax 3 at 40 % and
dmax 5 at 25 %, the paper's 5k, 40k and 25k of its steps as fractions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from normlab.norms.kernels import Pooling
from normlab.norms.moments import MomentNorm
from normlab.norms.running import RunningStats, moved, widened


class BatchRenorm(MomentNorm, RunningStats):
    """Batch norm that is corrected by its running statistics where they differ from the batch's.

    Args:
        num_channels: Number of channels C.
        rmax: Largest r, and 1 / the smallest r, when fully open; at least 1.
        dmax: Largest absolute value of d when fully open; at least 0.
        momentum: Weight of the new batch in the running statistics.
        eps: Added to variances inside roots.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Attributes:
        progress: Fraction of the training that is done, from 0 to 1, which opens rmax and dmax. The
            training loop sets it. It starts at 0, where this is batch norm.

    Raises:
        ValueError: In training, on input with one value per channel.
    """

    suits_small_batches: ClassVar[bool] = True
    follows_progress: ClassVar[bool] = True
    statistics: ClassVar[dict[str, float]] = {"running_mean": 0.0, "running_std": 1.0}
    running_std: Tensor
    start, r_open, d_open = 0.05, 0.4, 0.25

    def __init__(
        self,
        num_channels: int,
        *,
        rmax: float = 3.0,
        dmax: float = 5.0,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(
            num_channels, momentum=momentum, eps=eps, affine=affine, activation=activation
        )
        if rmax < 1 or dmax < 0:
            raise ValueError(f"rmax is {rmax} and dmax {dmax}: at least 1 and 0 are needed")
        self.rmax, self.dmax = rmax, dmax
        self.progress = 0.0

    def limits(self) -> tuple[float, float]:
        """The limits rmax and dmax at the current progress."""
        done = self.progress - self.start
        r, d = (
            min(max(done / (full - self.start), 0.0), 1.0) for full in (self.r_open, self.d_open)
        )
        return 1 + r * (self.rmax - 1), d * self.dmax

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Batch norm's factors, times r, plus d."""
        batch_mean, batch_var = Pooling("all", 1).pool(mean, var)
        std = torch.sqrt(batch_var + self.eps)
        rmax, dmax = self.limits()
        # Detached, not under no_grad: torch.compile (2.13) lets a gradient through the latter.
        r = (std.detach() / self.running_std).clamp(1 / rmax, rmax)
        d = ((batch_mean.detach() - self.running_mean) / self.running_std).clamp(-dmax, dmax)
        scale = r / std
        return scale, (mean - batch_mean) * scale + d

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """Move the running mean and standard deviation by those of the batch."""
        batch_mean, batch_var = (moment[0] for moment in Pooling("all", 1).pool(mean, var))
        self.update_running_stats(batch_mean, batch_var)

    @torch.no_grad()
    def update_running_stats(self, mean: Tensor, var: Tensor) -> None:
        """Move the running mean and deviation, each (C,); `var` is biased, as in the paper."""
        share = self.count_batch()
        moved(self.running_mean, mean, share)
        moved(self.running_std, torch.sqrt(var + self.eps), share)

    def eval_affine(self) -> tuple[Tensor, Tensor]:
        """The running statistics."""
        return widened(self.running_mean), 1 / widened(self.running_std)

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError for one value per channel: its variance is meaningless."""
        if images * pixels == 1:
            raise ValueError("BatchRenorm needs more than 1 value per channel when training")
