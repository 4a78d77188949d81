"""Runs Winograd's convolutions on tensors, as `run` does the walks over pixels."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from normlab.convolutions.loops import run
from normlab.convolutions.shape import Shape
from normlab.native import compiled

ROOM = 1 << 14
"""Numbers of a strip's tiles, read and written: they stay in the cache nearest to the core."""


def fits(shape: Shape, images: int, *, gradient: bool = False) -> bool:
    """Whether it can make the result, or the gradient of the map."""
    lanes = compiled.lanes()
    whole = shape.inputs % lanes == 0 and shape.outputs % lanes == 0
    small = shape.kernel == (3, 3) and shape.stride == (1, 1)
    reached = min(shape.turned().padding) >= 0 if gradient else True
    return whole and small and reached and min(shape.out_size) > 1 and images > 0


def forward(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of a channels-last map (N, C, H, W); weight channels-last, (K, C, 3, 3)."""
    y = run.empty(x, shape.outputs, shape.out_size)
    _convolve(shape, x, weight, y, bias, turned=False)
    return y


def input_gradient(shape: Shape, dy: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the map from that of the result, channels-last both."""
    dx = run.empty(dy, shape.inputs, (shape.height, shape.width))
    _convolve(shape, dy, weight, dx, None, turned=True)
    return dx


def weight_gradient(shape: Shape, x: Tensor, dy: Tensor) -> Tensor:
    """The gradient of the weights, (K, C, 3, 3), channels-last."""
    plan, images = _weights_plan(shape, x.dtype is torch.bfloat16), len(x)
    threads = run.threads_for(shape, images)
    sums = torch.empty((threads, plan.sums), dtype=torch.float32, device=x.device)
    frames = run.frames(shape, threads, plan.frame)
    room = torch.empty(plan.room * threads, dtype=torch.float32, device=x.device)
    outs = run.outs(shape, threads, x.dtype)
    fields = (
        threads, images, x.data_ptr(), dy.data_ptr(), sums.data_ptr(), frames, room.data_ptr(),
        0 if outs is None else outs.data_ptr(),
    )  # fmt: skip
    run.call(plan.address, threads, fields)
    total = sums[0] if threads == 1 else sums.sum(0)
    made = torch.empty(shape.weights, dtype=torch.float32, device=x.device)
    run.alone(plan.extra, array("q", (total.data_ptr(), made.data_ptr())))
    return made.view(shape.outputs, 3, 3, shape.inputs).permute(0, 3, 1, 2).to(x.dtype)


def prepare(shape: Shape, which: str, dtype: torch.dtype) -> None:
    """Compile or load what a pass needs."""
    half = dtype is torch.bfloat16
    if which == "weight":
        _weights_plan(shape, half)
    else:
        _plan(shape, which == "input", half)


def _convolve(
    shape: Shape, x: Tensor, weight: Tensor, y: Tensor, bias: Tensor | None, *, turned: bool
) -> None:
    plan, images = _plan(shape, turned, x.dtype is torch.bfloat16), len(x)
    threads = run.threads_for(shape, images)
    weight = weight.float()
    laid, packed = torch.empty_like(weight), weight.new_empty(plan.sums)
    run.alone(plan.extra, array("q", (weight.data_ptr(), laid.data_ptr())))
    run.alone(plan.pack, array("q", (laid.data_ptr(), packed.data_ptr())))
    bias = run.zeros(plan.seen.outputs) if bias is None else bias.float()
    frames = run.frames(plan.seen, threads, plan.frame)
    room = torch.empty(plan.room * threads, dtype=torch.float32, device=x.device)
    outs = run.outs(plan.seen, threads, x.dtype)
    fields = (
        threads, images, x.data_ptr(), packed.data_ptr(), y.data_ptr(), bias.data_ptr(), frames,
        room.data_ptr(), 0 if outs is None else outs.data_ptr(),
    )  # fmt: skip
    run.call(plan.address, threads, fields)


class _Plan(NamedTuple):
    """Functions, and numbers of what they need.

    Attributes:
        address: The loop.
        extra: What lays weights before, or makes gradients of weights of the sums.
        pack: What makes 16 numbers of each weight.
        seen: The shape as the loop sees it.
        sums: Numbers of the weights or their gradients, 16 each.
        frame: Of a thread's frame.
        room: Of a thread's tiles.
    """

    address: int
    extra: int
    pack: int
    seen: Shape
    sums: int
    frame: int
    room: int


@lru_cache(maxsize=1024)
def _plan(shape: Shape, turned: bool, half: bool) -> _Plan:
    from normlab.convolutions.loops import tiles, weights, winograd

    seen = shape.turned() if turned else shape
    lanes, registers = compiled.lanes(), compiled.registers()
    plan = winograd.strips(seen, _least(seen))
    tile = tiles.of_images(seen.outputs, plan.tiles, lanes, registers)
    channels, sizes = (seen.inputs, seen.outputs), (shape.outputs, 9, shape.inputs)
    lay = compiled.function(
        "lay",
        (sizes, turned, lanes),
        run.source(),
        lambda name: weights.pack(name, sizes, seen.outputs, turned=turned, rows=3, lanes=lanes),
    )
    pack = compiled.function(
        "winograd_pack",
        (channels, lanes),
        run.source(),
        lambda name: winograd.pack(name, channels, lanes),
    )
    address = compiled.function(
        "winograd",
        (seen, plan, tile, half),
        run.source(),
        lambda name: winograd.forward(name, seen, plan, tile, half=half),
    )
    return _Plan(address, lay, pack, seen, *_sizes(seen, plan))


@lru_cache(maxsize=1024)
def _weights_plan(shape: Shape, half: bool) -> _Plan:
    from normlab.convolutions.loops import winograd

    lanes = compiled.lanes()
    wanted = winograd.strips(shape, _least(shape))
    strip = next(n for n in range(wanted.strip, wanted.rows + 1) if wanted.rows % n == 0)
    plan = wanted._replace(strip=strip)
    wide = max(n for n in (4, 3, 2, 1) if shape.inputs // lanes % n == 0)
    most = (24 if compiled.registers() >= 32 else 12) // wide
    held = max(n for n in range(1, most + 1) if shape.outputs % n == 0)
    address = compiled.function(
        "winograd_weights",
        (shape, plan, lanes, held, half),
        run.source(),
        lambda name: winograd.weights(name, shape, plan, lanes, held, half=half),
    )
    channels = shape.inputs, shape.outputs
    unpack = compiled.function(
        "winograd_unpack",
        (channels, lanes),
        run.source(),
        lambda name: winograd.unpack(name, channels, lanes),
    )
    return _Plan(address, unpack, 0, shape, *_sizes(shape, plan))


def _least(shape: Shape) -> int:
    """Tiles of a strip at least: those that fit into the room, 8 to fill a tile of sums."""
    each = 16 * (shape.inputs + shape.outputs)
    return min(max(ROOM // each, 8), 16)


def _sizes(shape: Shape, plan: object) -> tuple[int, int, int]:
    """Numbers of 16 weights each, of a frame, and of a strip's tiles."""
    from normlab.convolutions.loops import winograd

    assert isinstance(plan, winograd.Strips)
    rows, columns = winograd.frame_size(shape)
    channels = shape.inputs + shape.outputs
    places = winograd.PLACES
    return (
        places * shape.inputs * shape.outputs,
        rows * columns * shape.inputs,
        places * plan.tiles * channels,
    )
