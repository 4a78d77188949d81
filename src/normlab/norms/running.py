"""Running statistics: what batch norm and related kinds keep of the batches for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from normlab.norms import kernels
from normlab.norms.norm import Norm, State

if TYPE_CHECKING:  # torch's says of weight, bias and num_features that they are always there
    from torch.nn import Module as _BatchNorm
else:
    from torch.nn.modules.batchnorm import _BatchNorm


class RunningStats(Norm, _BatchNorm):
    """A norm with buffers of statistics, named and counted as those of `torch.nn.BatchNorm2d`.

    It belongs to torch's family of batch norms, so that `torch.optim.swa_utils.update_bn` and code
    that looks for batch norms find it, and older state dicts load. It has no `num_features`, which
    `SyncBatchNorm.convert_sync_batchnorm` reads: that would replace it by another computation.

    Args:
        num_channels: Number of channels C.
        momentum: Weight of the new batch in the running statistics; None for the plain mean.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Attributes:
        statistics: Its buffers and their initial values.
    """

    uses_batch_statistics: ClassVar[bool] = True
    differs_in_eval: ClassVar[bool] = True
    statistics: ClassVar[dict[str, float]] = {"running_mean": 0.0, "running_var": 1.0}
    track_running_stats: ClassVar[bool] = True
    __constants__: ClassVar[list[str]] = ["track_running_stats", "momentum", "eps"]  # for torch.jit

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor | None
    momentum: float | None

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        Norm.__init__(self, num_channels, eps=eps, affine=affine, activation=activation)
        self._track(momentum)

    def _track(self, momentum: float | None) -> None:
        """Have the buffers of `statistics`, at their start."""
        self.momentum = momentum
        for name, start in self.statistics.items():
            self.register_buffer(name, torch.full((self.num_channels,), start))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def state(self) -> State:
        """Parameters, and the running statistics."""
        yield from super().state()
        for name in self.statistics:
            yield name, getattr(self, name), (self.num_channels,)

    def check_state(self, x: Tensor) -> None:
        """As for every norm; statistics that will be updated need memory of their own."""
        super().check_state(x)
        batches = self.num_batches_tracked
        if self.training and self.momentum is None and batches is not None:
            kernels.check_device("num_batches_tracked", batches, x)
        if self.training:
            for name in self.statistics:
                buffer = getattr(self, name)
                if len(buffer) > 1 and buffer.stride(0) == 0:
                    raise RuntimeError(f"{name} is expanded: it cannot be updated, clone it first")

    def of_nothing(self, x: Tensor) -> Tensor:
        """The result for an empty map; the batch is counted, as in torch."""
        if self.training:
            self.count_batch()
        return super().of_nothing(x)

    def reset_running_stats(self) -> None:
        """Reset the running statistics to their initial values."""
        for name, start in self.statistics.items():
            getattr(self, name).fill_(start)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Reset parameters and running statistics to their initial values."""
        self.reset_running_stats()
        super().reset_parameters()

    @torch.no_grad()
    def update_running_stats(self, mean: Tensor, var: Tensor) -> None:
        """Move the running mean and variance, each (C,), by the momentum; `var` is unbiased."""
        share = self.count_batch()
        moved(self.running_mean, mean, share)
        moved(self.running_var, var, share)

    def count_batch(self) -> float:
        """Count one more batch and return its weight in the running statistics."""
        batches = self.num_batches_tracked
        if batches is not None:  # a user may drop it, as with torch's
            batches += 1
        if self.momentum is not None:
            return self.momentum
        if batches is None:
            raise ValueError("num_batches_tracked is None: with momentum=None it is needed")
        return 1.0 if batches.is_meta else 1 / int(batches)  # on meta no number is known, or needed


def moved(running: Tensor, new: Tensor, share: float) -> None:
    """Move a buffer in place: (1 - share) * running + share * new, in float32 or wider.

    As torch does it: exact at both ends, and what once was infinite stays so and is no NaN.
    """
    wide = torch.promote_types(running.dtype, torch.promote_types(new.dtype, torch.float32))
    if wide is running.dtype:
        running.mul_(1 - share).add_(new.to(wide) * share)
    else:
        value = (1 - share) * running.to(wide) + share * new.to(wide)
        running.copy_(value.to(running.dtype))


def widened(buffer: Tensor) -> Tensor:
    """A buffer in float64, or on devices that may not have it in float32 or wider."""
    narrow = torch.promote_types(buffer.dtype, torch.float32)
    return buffer.to(torch.float64 if buffer.is_cpu else narrow)


__all__ = ["RunningStats", "moved", "widened"]
