"""Averages over whole maps, for classifiers.

The gradient of torch's layers lies contiguous whatever the map does, and every layer before them
would be given a copy or be slow: here it lies as the map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from normlab.native.tensors import is_traced


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """The mean over each channel's pixels: `torch.nn.AdaptiveAvgPool2d(1)`, up to rounding."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """From (N, C, H, W) to (N, C, 1, 1)."""
        return super().forward(input) if is_traced(input) else _mean(input)


class AveragePool(nn.AvgPool2d):
    """`torch.nn.AvgPool2d`, up to rounding where its window is the whole map."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """From (N, C, H, W) to (N, C, rows, columns)."""
        size = self.kernel_size
        window = (size, size) if isinstance(size, int) else tuple(size)
        if tuple(input.shape[-2:]) == window and not self.padding and not is_traced(input):
            return _mean(input)
        return super().forward(input)


def _mean(x: Tensor) -> Tensor:
    y: Tensor = _Mean.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Mean(Function):
    """The mean over the last two dimensions, which stay."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """(..., 1, 1)."""
        ctx.save_for_backward(x)
        return x.mean((-2, -1), keepdim=True)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        """An equal part of each gradient, lying as the map."""
        x: Tensor = ctx.saved_tensors[0]
        pixels = x.shape[-2] * x.shape[-1]
        if torch.is_grad_enabled():
            part: Tensor = dy / pixels
            return part.expand_as(x)
        dx = torch.empty_like(x, dtype=dy.dtype)
        torch.div(dy.expand_as(x), pixels, out=dx)
        return dx
