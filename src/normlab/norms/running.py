"""Running statistics: what batch norm and its kin keep of the batches for evaluation."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normlab.norms.base import Norm, State


class RunningStats(Norm, _BatchNorm):
    """A norm with buffers `running_mean`, `running_var` and `num_batches_tracked`.

    Names, momentum and state dict are those of `torch.nn.BatchNorm2d`, of whose family this is, so
    that `torch.optim.swa_utils.update_bn` and code that looks for batch norms find it.

    Args as `Norm`, and
        momentum: Share of the new batch in the running statistics; None for the plain mean.
    """

    uses_batch_statistics: ClassVar[bool] = True
    differs_in_eval: ClassVar[bool] = True
    second_moment: ClassVar[str] = "running_var"
    """Name of the buffer that keeps the spread; it starts at 1."""
    track_running_stats: ClassVar[bool] = True  # type: ignore[misc]

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
        Norm.__init__(self, num_channels, eps=eps, affine=affine, activation=activation)
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer(self.second_moment, torch.ones(num_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @property
    def num_features(self) -> int:  # type: ignore[override]
        """What torch's batch norms call `num_channels`; `convert_sync_batchnorm` asks for it.

        Raises:
            TypeError: Synchronized batch norm would compute something else than this layer.
        """
        from normlab.norms.batch import BatchNorm

        if type(self) is not BatchNorm or self.activation is not None:
            inside = "" if self.activation is None else " with an activation inside"
            raise TypeError(
                f"{type(self).__name__}{inside} has num_channels; it cannot be converted to "
                "SyncBatchNorm, which computes something else: keep its statistics per process, or "
                "use BatchNorm without an activation"
            )
        return self.num_channels

    def state(self) -> State:
        """Parameters, and the running statistics."""
        yield from super().state()
        channels = (self.num_channels,)
        yield "running_mean", self.running_mean, channels
        yield self.second_moment, getattr(self, self.second_moment), channels

    def reset_running_stats(self) -> None:
        """Set the running statistics to where they start."""
        self.running_mean.zero_()
        getattr(self, self.second_moment).fill_(1)
        self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set parameters and running statistics to where they start."""
        self.reset_running_stats()
        super().reset_parameters()

    @torch.no_grad()
    def update_running_stats(self, mean: Tensor, var: Tensor) -> None:
        """Move the running mean and variance, each (C,), by the momentum; var is unbiased."""
        share = self.count_batch()
        moved(self.running_mean, mean, share)
        moved(self.running_var, var, share)

    def count_batch(self) -> float:
        """Count one more batch; its share in the running statistics."""
        self.num_batches_tracked += 1
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum


def moved(running: Tensor, new: Tensor, share: float) -> None:
    """Move a buffer in place: (1 - share) * running + share * new, in float32 or wider.

    As torch does it: exact at both ends, and what once was infinite stays so and is no NaN.
    """
    wide = torch.promote_types(running.dtype, torch.promote_types(new.dtype, torch.float32))
    if wide is running.dtype:
        running.mul_(1 - share).add_(new.to(wide) * share)
    else:
        running.copy_((1 - share) * running.to(wide) + share * new.to(wide))


__all__ = ["RunningStats", "moved"]
