"""Norms of one's own that say what they are by attributes alone."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normlab.norms import BatchNorm, GroupNorm
from normlab.norms.kernels import Pooling


class Whitened(nn.Module):
    """No `Norm` at all: by the batch's mean, in steps of the training's progress, with a gate."""

    uses_batch_statistics = True
    differs_in_eval = True
    contains_activation = True
    follows_progress = True
    parameter_roles: ClassVar[dict[str, str]] = {"gate": "gate"}
    gate_lr_factor = 3.0
    softmax_gates = ("gate",)

    def __init__(self, num_channels: int, **options: Any) -> None:
        super().__init__()
        assert not options.get("activation"), "it contains its own"
        self.progress = 0.0
        self.seen: list[float] = []
        self.steps = 0
        self.gate = nn.Parameter(torch.zeros(2))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.gate)

    def after_step(self) -> None:
        self.steps += 1

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.progress)
        centered = x - x.mean((0, 2, 3), keepdim=True)
        return centered.relu() * self.gate.softmax(0)[0] * 2


class SmallBatches(BatchNorm):
    """Batch norm that says it can stand few images."""

    suits_small_batches: ClassVar[bool] = True


class Thirds(BatchNorm):
    """Batch norm over three parts of the batch."""

    def pooling(self, images: int, pixels: int) -> Pooling:
        first = images // 3
        return Pooling((first, first, images - 2 * first), 1)


class Singles(GroupNorm):
    """Each value of a 1x1 map by itself."""

    def __init__(self, num_channels: int, **options: Any) -> None:
        super().__init__(num_channels, groups=num_channels, **options)
