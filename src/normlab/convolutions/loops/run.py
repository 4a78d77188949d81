"""Runs the loops on tensors: compiles what a shape needs, once, and hands over addresses."""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from normlab.convolutions.meetings import meetings
from normlab.convolutions.meetings import turned as turned_meetings
from normlab.convolutions.shape import Shape
from normlab.native import compiled, team

Walk = Literal["rows", "pixels"]
"""Over rows of pixels, or over images at one pixel."""

SHARED_FROM = 4e6
"""Multiplications below which a second thread costs more than it brings."""


def fits(walk: Walk, shape: Shape, images: int, *, gradient: bool = False) -> bool:
    """Whether a walk can make the result, or the gradient of the map."""
    from normlab.convolutions.loops import tiles

    written = shape.inputs if gradient else shape.outputs
    if written % tiles.LEAST or min(shape.out_size) < 1 or not images:
        return False
    if walk == "pixels":
        return True
    if not gradient:
        return shape.kernel[1] <= 11
    return shape.stride == (1, 1) and min(shape.turned().padding) >= 0 and shape.kernel[1] <= 11


def fits_weights(walk: Walk, shape: Shape, images: int) -> bool:
    """Whether a walk can make the gradient of the weights."""
    from normlab.convolutions.loops import tiles

    if min(shape.out_size) < 1 or not images:
        return False
    if shape.inputs % tiles.LEAST == 0:
        return True
    few = shape.kernel[1] * shape.inputs <= 24
    return walk == "rows" and few and shape.outputs % tiles.LEAST == 0


def forward(walk: Walk, shape: Shape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of a channels-last map (N, C, H, W); weight channels-last, (K, C, kh, kw)."""
    y = empty(x, shape.outputs, shape.out_size)
    shape, images = _flat(shape, len(x))
    _convolve(walk, shape, False, images, x, weight, y, bias)
    return y


def input_gradient(walk: Walk, shape: Shape, dy: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the map from that of the result, channels-last both."""
    dx = empty(dy, shape.inputs, (shape.height, shape.width))
    shape, images = _flat(shape, len(dy))
    _convolve(walk, shape, True, images, dy, weight, dx, None)
    return dx


def weight_gradient(walk: Walk, shape: Shape, x: Tensor, dy: Tensor) -> Tensor:
    """The gradient of the weights, (K, C, kh, kw), channels-last where C is a multiple of 8."""
    kernel = shape.kernel
    shape, images = _flat(shape, len(x))
    threads = threads_for(shape, images)
    half = x.dtype is torch.bfloat16
    address, over_outputs = _weights_plan(walk, shape, half)
    sums = torch.empty((threads, shape.weights), dtype=torch.float32, device=x.device)
    framed, wide = frames(shape, threads, _frame(walk, shape, half)), outs(shape, threads, x.dtype)
    fields = (
        threads, images, x.data_ptr(), dy.data_ptr(), sums.data_ptr(), framed,
        0 if wide is None else wide.data_ptr(),
    )  # fmt: skip
    call(address, threads, fields)
    total = (sums[0] if threads == 1 else sums.sum(0)).to(x.dtype)
    if over_outputs:
        return total.view(*kernel, shape.inputs, shape.outputs).permute(3, 2, 0, 1)
    return total.view(shape.outputs, *kernel, shape.inputs).permute(0, 3, 1, 2)


def empty(like: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """A channels-last map for as many images as another has."""
    return torch.empty(
        (len(like), channels, *size),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )


def prepare(walk: Walk, shape: Shape, images: int, which: str, dtype: torch.dtype) -> None:
    """Compile or load what a pass needs: `forward`, `input` or `weight`."""
    shape, images = _flat(shape, images)
    if which == "weight":
        _weights_plan(walk, shape, dtype is torch.bfloat16)
    else:
        _plan(walk, shape, which == "input", min(images, 16), dtype is torch.bfloat16)


def _flat(shape: Shape, images: int) -> tuple[Shape, int]:
    """Pixels by themselves are images of one pixel."""
    if shape.taps == 1 and shape.stride == (1, 1) and not shape.is_padded:
        return shape._replace(height=1, width=1), images * shape.pixels
    return shape, images


def threads_for(shape: Shape, images: int) -> int:
    """How many threads share a batch."""
    if images * shape.out_pixels * shape.weights < SHARED_FROM or team.openmp() is None:
        return 1
    return min(torch.get_num_threads(), images)


def _convolve(
    walk: Walk,
    shape: Shape,
    turned: bool,
    images: int,
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    bias: Tensor | None,
) -> None:
    threads = threads_for(shape, images)
    half, weight = x.dtype is torch.bfloat16, weight.float()
    plan = _plan(walk, shape, turned, min(images, 16), half)
    packed = torch.empty_like(weight)
    alone(plan.pack, array("q", (weight.data_ptr(), packed.data_ptr())))
    written = shape.inputs if turned else shape.outputs
    bias = zeros(written) if bias is None else bias.float()
    framed = frames(plan.seen, threads, _frame(walk, plan.seen, half))
    wide = outs(plan.seen, threads, x.dtype)
    fields = (
        threads, images, x.data_ptr(), packed.data_ptr(), y.data_ptr(), bias.data_ptr(), framed,
        0 if wide is None else wide.data_ptr(),
    )  # fmt: skip
    call(plan.address, threads, fields)


def _frame(walk: Walk, shape: Shape, half: bool) -> int:
    """Numbers of a frame: the walk over rows needs one, for padding and to widen bfloat16."""
    return shape.frame if walk == "rows" and (shape.is_padded or half) else 0


class _Plan(NamedTuple):
    address: int
    pack: int
    seen: Shape


@lru_cache(maxsize=1024)
def _plan(walk: Walk, shape: Shape, turned: bool, images: int, half: bool) -> _Plan:
    from normlab.convolutions.loops import pixels, rows, tiles, weights

    lanes, registers = compiled.lanes(), compiled.registers()
    written = shape.inputs if turned else shape.outputs
    make: Callable[[str], str]
    seen = shape
    if walk == "rows":
        seen = shape.turned() if turned else shape
        tile = tiles.of_rows(written, seen.out_size, seen.kernel[1], lanes, registers)
        make = lambda name: rows.forward(name, seen, tile, half=half)  # noqa: E731
    else:
        met = meetings(shape)
        read, channels = shape.pixels, (shape.inputs, shape.outputs)
        if turned:
            met, read = turned_meetings(met, shape.pixels), shape.out_pixels
            channels = shape.outputs, shape.inputs
        tile = tiles.of_images(written, images, lanes, registers)
        make = lambda name: pixels.forward(name, met, (read, shape.taps), channels, tile)  # noqa: E731
    sizes = shape.outputs, shape.taps, shape.inputs
    laid = shape.kernel[0] if walk == "rows" else 0
    pack = compiled.function(
        "pack",
        (sizes, tile, turned, laid),
        source(),
        lambda name: weights.pack(
            name, sizes, tile.channels, turned=turned, rows=laid, lanes=tile.lanes
        ),
    )
    address = compiled.function(walk, (shape, turned, tile, half), source(), make)
    return _Plan(address, pack, seen)


@lru_cache(maxsize=1024)
def _weights_plan(walk: Walk, shape: Shape, half: bool) -> tuple[int, bool]:
    from normlab.convolutions.loops import weights

    vector = weights.Vector(compiled.lanes(), compiled.registers())
    if walk == "rows":
        address = compiled.function(
            "weights_rows",
            (shape, vector, half),
            source(),
            lambda name: weights.by_rows(name, shape, vector, half=half),
        )
        return address, weights.is_over_outputs(shape)
    address = compiled.function(
        "weights_pixels",
        (shape, vector),
        source(),
        lambda name: weights.by_pixels(
            name,
            meetings(shape),
            (shape.pixels, shape.taps),
            (shape.inputs, shape.outputs),
            vector,
        ),
    )
    return address, False


@cache
def source() -> str:
    """Of all the code that writes loops."""
    here = Path(__file__).parent
    emitter = Path(compiled.__file__).parent / "emitter.py"
    return compiled.digest_of(
        *sorted(here.glob("*.py")),
        *(here.parent / f"{n}.py" for n in ("shape", "meetings")),
        emitter,
    )


class _Kept(threading.local):
    """Frames of zeros, by what they are of: a loop writes inside of them alone."""

    def __init__(self) -> None:
        self.frames: dict[tuple[Shape, int, int], Tensor] = {}


_kept = _Kept()


def frames(shape: Shape, threads: int, size: int) -> int:
    """The address of a frame of so many numbers for each thread; 0 for none."""
    if not size:
        return 0
    key = shape._replace(outputs=0), threads, size
    found = _kept.frames.get(key)
    if found is None:
        found = torch.zeros(size * threads, dtype=torch.float32, device="cpu")
        _kept.frames[key] = found
    return found.data_ptr()


def outs(shape: Shape, threads: int, dtype: torch.dtype) -> Tensor | None:
    """Room for a result in float32 for each thread; None where maps are float32 themselves."""
    if dtype is torch.float32:
        return None
    count = threads * shape.out_pixels * shape.outputs
    return torch.empty(count, dtype=torch.float32, device="cpu")


@cache
def zeros(count: int) -> Tensor:
    """So many; nobody writes them."""
    return torch.zeros(count, dtype=torch.float32, device="cpu")


@cache
def _callable(address: int) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


def alone(address: int, fields: array[int]) -> None:
    """Call a function with the address of its arguments."""
    _callable(address)(fields.buffer_info()[0])


def call(address: int, threads: int, fields: tuple[int, ...]) -> None:
    """Call a loop; the first of its arguments tells a thread its number, if there is a team."""
    if threads == 1:
        alone(address, array("q", (0, *fields)))
    else:
        given = array("q", (team.thread_number(), *fields))
        team.on_team(address, given.buffer_info()[0], threads)
