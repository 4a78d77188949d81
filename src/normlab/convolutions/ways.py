"""The ways to compute a convolution, and each of its three passes by one of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.convolutions import product
from normlab.convolutions.loops import run, run_winograd
from normlab.convolutions.shape import Shape
from normlab.native import compiled

Way = Literal["torch", "product", "rows", "pixels", "winograd"]
WAYS: tuple[Way, ...] = ("torch", "product", "rows", "pixels", "winograd")
"""torch's convolution, a product of matrices by torch, and the loops."""


class Ways(NamedTuple):
    """How each pass is computed.

    Attributes:
        forward: The result.
        input: The gradient of the map.
        weight: The gradient of the weights.
    """

    forward: Way
    input: Way
    weight: Way


PASSES = Ways._fields
_BOTH = (torch.float32, torch.bfloat16)
_LOOPS = {"rows": _BOTH, "pixels": (torch.float32,), "winograd": _BOTH}


def can(way: Way, which: str, shape: Shape, images: int, dtype: torch.dtype) -> bool:
    """Whether a way computes a pass of a shape on this machine."""
    if way == "torch":
        return True
    if way == "product":
        return min(shape.out_size) > 0
    if dtype not in _LOOPS[way] or not compiled.is_there():
        return False
    if way == "winograd":
        return run_winograd.fits(shape, images, gradient=which == "input")
    if which == "weight":
        return run.fits_weights(way, shape, images)
    return run.fits(way, shape, images, gradient=which == "input")


def forward(way: Way, shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution; all tensors channels-last."""
    if way == "torch":
        return F.conv2d(x, weight, bias, shape.stride, shape.padding)
    if way == "product":
        return product.forward(shape, x, weight, bias)
    if way == "winograd":
        return run_winograd.forward(shape, x, weight, bias)
    return run.forward(way, shape, x, weight, bias)


def input_gradient(way: Way, shape: Shape, x: Tensor, weight: Tensor, dy: Tensor) -> Tensor:
    """The gradient of the map."""
    if way == "torch":
        return _by_torch(shape, x, weight, dy, (True, False, False))[0]
    if way == "product":
        return product.input_gradient(shape, dy, weight)
    if way == "winograd":
        return run_winograd.input_gradient(shape, dy, weight)
    return run.input_gradient(way, shape, dy, weight)


def weight_gradient(way: Way, shape: Shape, x: Tensor, weight: Tensor, dy: Tensor) -> Tensor:
    """The gradient of the weights."""
    if way == "torch":
        return _by_torch(shape, x, weight, dy, (False, True, False))[1]
    if way == "product":
        return product.weight_gradient(shape, x, dy)
    if way == "winograd":
        return run_winograd.weight_gradient(shape, x, dy)
    return run.weight_gradient(way, shape, x, dy)


def gradients(
    shape: Shape, x: Tensor, weight: Tensor, dy: Tensor, mask: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of map, weights and bias by torch, which can be differentiated again."""
    return _by_torch(shape, x, weight, dy, mask)


def _by_torch(
    shape: Shape, x: Tensor, weight: Tensor, dy: Tensor, mask: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        dy, x, weight, [shape.outputs], shape.stride, shape.padding, (1, 1), False, (0, 0), 1, mask
    )
    return found
