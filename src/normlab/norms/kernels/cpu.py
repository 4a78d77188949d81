"""The CPU backend: loops compiled by Numba, called by pointer, shared between torch's threads.

Numba compiles without a compiler on the machine, once per machine (it keeps a cache). The loops
are called through ctypes with the addresses of the tensors, which costs a few microseconds: with
small maps calls are what norms cost. ctypes lets go of the GIL meanwhile, so plain Python threads
share the images of a large map.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from normlab.norms.kernels.pools import Pools

NAME = "cpu"
DTYPES = (torch.float32, torch.float64)

# Values below which a second thread costs more than it brings (measured: benchmarks/norms.py).
_SHARED_FROM = 1 << 17

_POINTERS = {
    "moments": 3,
    "affine": 5,
    "sums": 7,
    "dx": 9,
    "pooled_forward": 10,
    "pooled_backward": 16,
}
_INTEGERS = {
    "moments": 4,
    "affine": 6,
    "sums": 6,
    "dx": 6,
    "pooled_forward": 7,
    "pooled_backward": 7,
}


@cache
def _function(name: str, layout: str, dtype: torch.dtype) -> Callable[..., None]:
    """A compiled loop as a C function of addresses and integers."""
    from numba import cfunc, types

    from normlab.norms.kernels import cpu_loops

    real = types.float32 if dtype is torch.float32 else types.float64
    pooled = name.startswith("pooled")
    address: Any = types.CPointer
    arguments: list[Any] = [address(real)] * _POINTERS[name] + [types.intp] * _INTEGERS[name]
    c_arguments: list[Any] = [ctypes.c_void_p] * _POINTERS[name]
    c_arguments += [ctypes.c_ssize_t] * _INTEGERS[name]
    if pooled:
        starts = 2 if name == "pooled_forward" else 4
        arguments[starts] = address(types.int64)
        arguments.append(real)
        c_arguments.append(ctypes.c_float if dtype is torch.float32 else ctypes.c_double)
    source = getattr(cpu_loops, name if pooled else f"{name}_{layout}")
    made = cfunc(
        types.void(*arguments), cache=True, fastmath=cpu_loops.FASTMATH, error_model="numpy"
    )
    prototype = ctypes.CFUNCTYPE(None, *c_arguments)
    compiled = made(source)
    function: Any = prototype(compiled.address)
    function.keep = compiled  # the code lives as long as its owner
    return function  # type: ignore[no-any-return]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="normlab-norms")


def _share(
    function: Callable[..., None], arguments: tuple[Any, ...], images: int, values: int
) -> None:
    """Call with the images split over torch's number of threads, if there are values enough."""
    threads = min(torch.get_num_threads(), images) if values >= _SHARED_FROM else 1
    if threads == 1:
        function(*arguments, 0, images)
        return
    ends = [images * part // threads for part in range(threads + 1)]
    others = [
        _pool(threads).submit(function, *arguments, first, last)
        for first, last in pairwise(ends[1:])
    ]
    function(*arguments, ends[0], ends[1])
    for other in others:
        other.result()


def probe() -> None:
    """Raise ImportError where Numba is missing."""
    import numba  # noqa: F401


def supports(x: Tensor) -> bool:
    """Whether the loops can read x as it lies."""
    return x.dtype in DTYPES and x.device.type == "cpu" and layout(x) is not None


def layout(x: Tensor) -> str | None:
    """How the values of x lie: "nchw", "nhwc", or None for neither."""
    if x.is_contiguous():
        return "nchw"
    return "nhwc" if x.is_contiguous(memory_format=torch.channels_last) else None


def _like(gradient: Tensor, x: Tensor, lies: str) -> Tensor:
    """The gradient lying as x does; autograd may hand over another layout."""
    form = torch.contiguous_format if lies == "nchw" else torch.channels_last
    return gradient.contiguous(memory_format=form)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], x.shape[2] * x.shape[3]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, each (N, C)."""
    N, C, P = _sizes(x)
    out = torch.empty((2, N, C), dtype=x.dtype)
    mean, var = out[0], out[1]
    function = _function("moments", layout(x) or "", x.dtype)
    _share(function, (x.data_ptr(), mean.data_ptr(), var.data_ptr(), C, P), N, x.numel())
    return mean, var


def affine(x: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """``scale * (x - center) + shift`` and ReLU; factors (N, C) or (C,), contiguous."""
    N, C, P = _sizes(x)
    y = torch.empty_like(x)
    pointers = (x.data_ptr(), center.data_ptr(), scale.data_ptr(), shift.data_ptr(), y.data_ptr())
    step = C if center.dim() == 2 else 0
    function = _function("affine", layout(x) or "", x.dtype)
    _share(function, (*pointers, C, P, step, relu), N, x.numel())
    return y


def sums(
    x: Tensor, dy: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of dy and dy * (x - center), dy taken through the ReLU, each (N, C)."""
    N, C, P = _sizes(x)
    lies = layout(x) or ""
    dy = _like(dy, x, lies)
    out = torch.empty((2, N, C), dtype=x.dtype)
    pointers = (q.data_ptr() for q in (x, dy, center, scale, shift, out[0], out[1]))
    step = C if center.dim() == 2 else 0
    _share(_function("sums", lies, x.dtype), (*pointers, C, P, step, relu), N, x.numel())
    return out[0], out[1]


def dx(
    x: Tensor,
    dy: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    slopes: tuple[Tensor, Tensor, Tensor],
    relu: bool,
) -> Tensor:
    """``A * dy + B * (x - center) + C``, dy taken through the ReLU."""
    N, C, P = _sizes(x)
    lies = layout(x) or ""
    dy = _like(dy, x, lies)
    out = torch.empty_like(x)
    pointers = (q.data_ptr() for q in (x, dy, *factors, *slopes, out))
    step = C if factors[0].dim() == 2 else 0
    _share(_function("dx", lies, x.dtype), (*pointers, C, P, step, relu), N, x.numel())
    return out


def pooled_forward(
    mean: Tensor,
    var: Tensor,
    pools: Pools,
    pixels: int,
    affine: tuple[Tensor, Tensor] | None,
    gate: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Statistics of the blocks, (splits, groups) each, and factors of the rows, (N, C) each."""
    N, C = mean.shape
    blocks = torch.empty((2, pools.splits, C // pools.channels), dtype=mean.dtype)
    factors = torch.empty((2, N, C), dtype=mean.dtype)
    weight, bias = affine or (mean, mean)  # never read without affine
    tensors = (mean, var, pools.starts, weight, bias, mean if gate is None else gate)
    pointers = [q.data_ptr() for q in (*tensors, *blocks.unbind(), *factors.unbind())]
    sizes = (N, C, pixels, pools.splits, pools.channels, affine is not None, gate is not None)
    _function("pooled_forward", "", mean.dtype)(*pointers, *sizes, eps)
    return blocks[0], blocks[1], factors[0], factors[1]


def pooled_backward(
    d0: Tensor,
    d1: Tensor,
    mean: Tensor,
    var: Tensor,
    blocks: tuple[Tensor, Tensor],
    scale: Tensor,
    pools: Pools,
    pixels: int,
    weight: Tensor | None,
    gate: Tensor | None,
    eps: float,
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Factors A, B, C of dx, (N, C) each, and gradients of gain, bias and gate, (C,) each."""
    N, C = mean.shape
    slopes = torch.empty((3, N, C), dtype=mean.dtype)
    gradients = torch.empty((3, C), dtype=mean.dtype)
    rows = (d0, d1, mean, var, pools.starts, mean if weight is None else weight)
    rest = (mean if gate is None else gate, *blocks, scale)
    outputs = (*slopes.unbind(), *gradients.unbind())
    pointers = [q.data_ptr() for q in (*rows, *rest, *outputs)]
    sizes = (N, C, pixels, pools.splits, pools.channels, weight is not None, gate is not None)
    _function("pooled_backward", "", mean.dtype)(*pointers, *sizes, eps)
    return slopes.unbind(), gradients.unbind()  # type: ignore[return-value]
