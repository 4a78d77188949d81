"""A convolution as a differentiable operation whose passes are computed each by its own way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from normlab.convolutions import ways
from normlab.convolutions.choice import TORCH, choose
from normlab.convolutions.shape import Pair, Shape
from normlab.native.tensors import PLAIN, is_looked_at, is_traced

_DTYPES = frozenset((torch.float32, torch.bfloat16))


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
) -> Tensor:
    """A 2d convolution of one group without dilation, as `torch.nn.functional.conv2d`.

    Maps on the CPU that lie channels-last, in float32 or bfloat16, are computed by the ways of
    `normlab.convolutions.choice`, and stay channels-last. All else is torch's convolution.

    Args:
        x: (N, C, H, W).
        weight: (K, C, kh, kw).
        bias: (K,), or None.
        stride: Of rows and columns.
        padding: Zeros on each side of rows and columns.
    """
    if is_traced(x) or not x.is_cpu:
        return F.conv2d(x, weight, bias, stride, padding)
    if torch.is_autocast_enabled("cpu"):
        x, weight, bias = _cast(x, weight, bias)
    if not _is_ours(x, weight, bias):
        return F.conv2d(x, weight, bias, stride, padding)
    images, inputs, height, width = x.shape
    kernel = weight.shape[2], weight.shape[3]
    shape = Shape(inputs, len(weight), height, width, kernel, stride, padding)
    chosen = choose(shape, images, x.dtype)
    if chosen == TORCH:
        return F.conv2d(x, weight, bias, stride, padding)
    y: Tensor = _Convolution.apply(shape, chosen, x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def _cast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What autocast makes of a convolution's arguments: its dtype for all but float64."""
    dtype = torch.get_autocast_dtype("cpu")

    def cast(value: Tensor) -> Tensor:
        return value.to(dtype) if value.dtype in {torch.float32, torch.float16} else value

    return cast(x), cast(weight), None if bias is None else cast(bias)


def _is_ours(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        x.dtype in _DTYPES
        and x.dim() == 4
        and weight.dim() == 4
        and weight.dtype is x.dtype
        and x.shape[1] == weight.shape[1]
        and weight.is_cpu
        and type(weight) in PLAIN
        and weight.numel() > 0
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_neg()
        and not weight.is_neg()
        and (
            bias is None
            or (
                bias.dtype is x.dtype
                and bias.is_cpu
                and type(bias) in PLAIN
                and bias.shape == weight.shape[:1]
                and bias.is_contiguous()
                and not bias.is_neg()
            )
        )
    )


class _Convolution(Function):
    """Forward and backward, each gradient only where it is wanted."""

    @staticmethod
    def forward(
        ctx: Any,
        shape: Shape,
        chosen: ways.Ways,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """The result, (N, K, rows, columns), channels-last."""
        ctx.save_for_backward(x, weight)
        ctx.fixed = shape, chosen
        return ways.forward(chosen.forward, shape, x, _lasting(weight), bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of map, weights and bias."""
        shape, chosen = ctx.fixed
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if is_looked_at(dy) or not _is_readable(x, weight, dy):
            found = ways.gradients(shape, x, weight, dy, wanted)
            made = (g if w else None for g, w in zip(found, wanted, strict=True))
            return None, None, *made
        dy, weight, x = _lasting(dy), _lasting(weight), _lasting(x)
        dx = dw = db = None
        if wanted[0]:
            dx = ways.input_gradient(chosen.input, shape, x, weight, dy)
        if wanted[1]:
            dw = ways.weight_gradient(chosen.weight, shape, x, weight, dy)
        if wanted[2]:
            db = dy.sum((0, 2, 3))
        return None, None, dx, dw, db


def _lasting(x: Tensor) -> Tensor:
    """A map or weights, channels-last; a copy if they lie otherwise."""
    return x.contiguous(memory_format=torch.channels_last)


def _is_readable(x: Tensor, weight: Tensor, dy: Tensor) -> bool:
    """Whether tensors, which hooks may have changed, are still as the forward pass had them."""
    return all(
        type(t) in PLAIN and t.is_cpu and t.dtype is x.dtype and not t.is_neg()
        for t in (x, weight, dy)
    )
