"""Convolutions as products of matrices, by torch, on channels-last maps.

- A 1x1 kernel is one product of the pixels with the weights.
- A map of a few pixels is one row of a matrix: the kernel becomes the matrix from all its pixels to
  all of the result. Taps that only meet padding are left out.
- Anything else is a product with patches: for each output pixel the numbers its taps meet.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.convolutions.shape import Shape

FEW = 4
"""Pixels of a map, and of the result, up to which the kernel becomes a matrix of all of them."""


def forward(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of a map (N, C, H, W) with weights (K, C, kh, kw), channels-last both."""
    if _is_matrix(shape):
        rows = _last(x).reshape(len(x), -1) @ _matrix(shape, weight).t()
    else:
        rows = _patches(shape, x) @ _flat(weight).t()
    y = rows.view(len(x), *shape.out_size, shape.outputs)
    return (y if bias is None else y.add_(bias)).permute(0, 3, 1, 2)


def input_gradient(shape: Shape, dy: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the map."""
    if _is_matrix(shape):
        rows = _last(dy).reshape(len(dy), -1) @ _matrix(shape, weight)
        return rows.view(len(dy), shape.height, shape.width, shape.inputs).permute(0, 3, 1, 2)
    patches = _last(dy).reshape(-1, shape.outputs) @ _flat(weight)
    if _is_plain(shape):
        return patches.view(len(dy), shape.height, shape.width, -1).permute(0, 3, 1, 2)
    frame = dy.new_zeros((len(dy), *shape.framed, shape.inputs))
    parts = patches.view(len(dy), *shape.out_size, shape.taps, shape.inputs)
    for tap, window in enumerate(_windows(shape, frame)):
        window.add_(parts[..., tap, :])
    top, left = shape.padding
    inside = frame[:, top : top + shape.height, left : left + shape.width]
    return inside.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def weight_gradient(shape: Shape, x: Tensor, dy: Tensor) -> Tensor:
    """The gradient of the weights, (K, C, kh, kw), channels-last."""
    kernel = (*shape.kernel, shape.inputs)
    if _is_matrix(shape):
        matrix = _last(dy).reshape(len(dy), -1).t() @ _last(x).reshape(len(x), -1)
        blocks = matrix.view(shape.out_pixels, shape.outputs, shape.pixels, shape.inputs)
        # Blocks of one tap are added in float32, whatever they were rounded to.
        total = x.new_zeros((shape.outputs, shape.taps, shape.inputs), dtype=torch.float32)
        for out, inside, tap in _pairs(shape):
            total[:, tap] += blocks[out, :, inside]
        made = total.to(x.dtype)
    else:
        made = _last(dy).reshape(-1, shape.outputs).t() @ _patches(shape, x)
    return made.view(shape.outputs, *kernel).permute(0, 3, 1, 2)


def _last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _flat(weight: Tensor) -> Tensor:
    return _last(weight).reshape(len(weight), -1)


def _is_plain(shape: Shape) -> bool:
    return shape.taps == 1 and shape.stride == (1, 1) and not shape.is_padded


def _is_matrix(shape: Shape) -> bool:
    return shape.taps > 1 and max(shape.pixels, shape.out_pixels) <= FEW


def _pairs(shape: Shape) -> Iterator[tuple[int, int, int]]:
    """Output pixel, input pixel and tap of all that meet."""
    from normlab.convolutions.meetings import meetings

    for out, met in enumerate(meetings(shape)):
        for inside, tap in met:
            yield out, inside, tap


def _matrix(shape: Shape, weight: Tensor) -> Tensor:
    """All pixels of the map to all of the result: (out pixels x K, pixels x C)."""
    made = weight.new_zeros((shape.out_pixels, shape.outputs, shape.pixels, shape.inputs))
    taps = _last(weight).reshape(shape.outputs, shape.taps, shape.inputs)
    for out, inside, tap in _pairs(shape):
        made[out, :, inside] = taps[:, tap]
    return made.view(shape.out_pixels * shape.outputs, -1)


def _windows(shape: Shape, frame: Tensor) -> Iterator[Tensor]:
    """For each tap the pixels of padded maps (N, H, W, C) that it meets."""
    (rows, columns), (down, right) = shape.out_size, shape.stride
    for y in range(shape.kernel[0]):
        for x in range(shape.kernel[1]):
            yield frame[:, y : y + rows * down : down, x : x + columns * right : right]


def _patches(shape: Shape, x: Tensor) -> Tensor:
    """(N x out pixels, taps x C)."""
    frame = _last(x)
    if shape.is_padded:
        top, left = shape.padding
        frame = F.pad(frame, (0, 0, left, left, top, top))
    if shape.taps == 1:
        return next(_windows(shape, frame)).reshape(-1, shape.inputs)
    windows = [w[:, : shape.out_size[0], : shape.out_size[1]] for w in _windows(shape, frame)]
    return torch.cat(windows, dim=-1).view(-1, shape.taps * shape.inputs)
