"""The average over a map, for classifiers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """The mean over each channel's pixels: `torch.nn.AdaptiveAvgPool2d(1)`, up to rounding.

    The gradient lies as the map does; that of torch's layer lies contiguous, and every layer before
    it would have to be given a copy or be slow.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """From (N, C, H, W) to (N, C, 1, 1)."""
        return F.avg_pool2d(input, input.shape[2:])
