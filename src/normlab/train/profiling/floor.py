"""What a layer has to compute and to move, whatever computes it, and the seconds that takes.

Operations are those of convolutions and matrix products: two for each multiplication with its
addition. A tap of a convolution that meets the padding is none. Bytes are those that have to be
read and written once, but where a layer must know the whole map before it writes the first value
of the result: with E bytes of a map and as many of the result,

    norm with statistics of the batch      3 E forward     5 E backward
    any other norm                         2 E             3 E
    everything else                        input + result  input + result, and what is in between
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from normlab.norms import is_norm, traits
from normlab.train.profiling.machine import Rates


class Work(NamedTuple):
    """What there is to do.

    Attributes:
        flops: Floating point operations.
        moved: Bytes that are read and written.
        touched: Bytes of the tensors it works on: whether they fit into a cache.
    """

    flops: int
    moved: int
    touched: int

    def seconds(self, rates: Rates) -> float:
        """The least that it takes: the larger of computing it and of moving it."""
        moving = self.moved / rates.bytes_per_second(self.touched)
        return max(self.flops / rates.flops, moving)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def forward_work(layer: nn.Module, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> Work:
    """Of a layer's forward pass in training; none of one that hands its input on."""
    if _hands_on(inputs, results):
        return Work(0, 0, 0)
    read, written, kept = size_of(inputs), size_of(results), size_of(layer.parameters())
    passes = 2 if is_norm(layer) and traits(layer).uses_batch_statistics else 1
    flops = 2 * _multiplications(layer, inputs, results)
    return Work(flops, passes * read + written + kept, read + written + kept)


def backward_work(
    layer: nn.Module, inputs: Sequence[Tensor], results: Sequence[Tensor], *, reaches_input: bool
) -> Work:
    """Of a layer's backward pass.

    Args:
        layer: The layer.
        inputs: That it had.
        results: That it gave: their gradients are as large.
        reaches_input: Whether the inputs have gradients, too.
    """
    if _hands_on(inputs, results):
        return Work(0, 0, 0)
    read, written, kept = size_of(inputs), size_of(results), size_of(layer.parameters())
    trained = any(parameter.requires_grad for parameter in layer.parameters())
    once = _multiplications(layer, inputs, results)
    flops = 2 * once * (int(reaches_input) + int(trained))
    # The gradient is read and that of the input written; products need their other factor.
    moved = written + reaches_input * read + 2 * trained * kept
    if is_norm(layer):
        passes = 2 if traits(layer).uses_batch_statistics else 1
        moved = passes * (read + written) + reaches_input * read + trained * kept
    elif once:
        moved += trained * read
    return Work(flops, moved, 2 * read + written + kept)


def update_work(parameters: Iterable[Tensor], remembered: int) -> Work:
    """Of an optimizer's step.

    Args:
        parameters: That it trains.
        remembered: Values that it remembers of each one.
    """
    kept = size_of(parameters)
    # Weight and gradient are read, the weight is written; what is remembered is read and written.
    return Work(0, (3 + 2 * remembered) * kept, (2 + remembered) * kept)


def _hands_on(inputs: Sequence[Tensor], results: Sequence[Tensor]) -> bool:
    return all(any(result is x for x in inputs) for result in results)


def _multiplications(layer: nn.Module, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> int:
    if not inputs or not results:
        return 0
    x, y = inputs[0], results[0]
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features
    if not isinstance(layer, _ConvNd):
        return 0
    if isinstance(layer, _ConvTransposeNd):
        return x.numel() * layer.out_channels // layer.groups * math.prod(layer.kernel_size)
    spatial = len(layer.kernel_size)
    images = y.numel() // (layer.out_channels * math.prod(y.shape[-spatial:]))
    channels = layer.out_channels * layer.in_channels // layer.groups
    taps = math.prod(
        _taps(layer, axis, x.shape[axis - spatial], y.shape[axis - spatial])
        for axis in range(spatial)
    )
    return images * channels * taps


def _taps(layer: _ConvNd, axis: int, before: int, after: int) -> int:
    """Pairs of a place of the result and a tap that meets the map, along one axis."""
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    if layer.padding_mode != "zeros":
        return kernel * after
    padding = layer.padding
    if padding == "same":
        first = dilation * (kernel - 1) // 2
    else:
        first = 0 if isinstance(padding, str) else padding[axis]
    places = (place * stride - first for place in range(after))
    return sum(0 <= start + tap * dilation < before for start in places for tap in range(kernel))
