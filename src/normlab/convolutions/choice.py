"""Which way computes which pass of a convolution: a static table, and a rule for other shapes.

The table was measured for every convolution of every bundled model, per kind of processor
(`benchmarks/convolutions.py` makes it). A trial always takes the same way on one kind of processor,
whatever runs beside it.
"""

from __future__ import annotations

from functools import cache, lru_cache

import torch

from normlab.convolutions.shape import Shape
from normlab.convolutions.table import TABLE
from normlab.convolutions.ways import PASSES, Way, Ways, can

TORCH = Ways("torch", "torch", "torch")
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


@lru_cache(maxsize=4096)
def choose(shape: Shape, images: int, dtype: torch.dtype) -> Ways:
    """The ways for channels-last maps on the CPU.

    Args:
        shape: Of the convolution.
        images: Of a batch.
        dtype: Of map and weights; all but float32 and bfloat16 are torch's.
    """
    if dtype not in _NAMES:
        return TORCH
    listed = TABLE.get(kind(dtype), {}).get(text(shape))
    wanted = Ways(*listed.split()) if listed else rule(shape, dtype)  # type: ignore[arg-type]
    return Ways(
        *(
            way if can(way, which, shape, images, dtype) else "torch"
            for which, way in zip(PASSES, wanted, strict=True)
        )
    )


def rule(shape: Shape, dtype: torch.dtype) -> Ways:
    """The ways for a shape that the table does not have.

    Winograd's tiles for padded 3x3 kernels, loops over images for 1x1 kernels, small maps and the
    gradients of strides, loops over rows for all else. bfloat16 is a product of matrices where the
    processor multiplies it, but for the kernels that would need patches.
    """
    if not has_loops():
        return TORCH
    few = shape.taps == 1 or max(shape.pixels, shape.out_pixels) <= 4
    if dtype is torch.bfloat16 and few:
        return Ways("product", "product", "product") if fast_bfloat16() else TORCH
    if dtype is torch.bfloat16 and processor() == "amx":
        return TORCH
    if shape.kernel == (3, 3) and shape.padding == (1, 1) and shape.stride == (1, 1) and not few:
        return Ways("winograd", "winograd", "winograd")
    if dtype is torch.bfloat16:
        return TORCH
    walk: Way = "pixels" if few or shape.out_pixels <= 64 else "rows"
    back: Way = walk if shape.stride == (1, 1) else "pixels"
    return Ways(walk, back, "pixels" if few else "rows")


def kind(dtype: torch.dtype) -> str:
    """The part of the table that is for this processor; float32 asks for vectors alone."""
    name = processor()
    if dtype is torch.float32 and name in {"amx", "avx512_bf16"}:
        name = "avx512"
    return f"{name} {_NAMES[dtype]}"


@cache
def processor() -> str:
    """The kind of this processor: what its vectors are, and whether it multiplies bfloat16."""
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        if torch.cpu._is_amx_tile_supported():
            return "amx"
        return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else "avx512"
    return str(torch.backends.cpu.get_cpu_capability()).lower()


def fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 at all."""
    return processor() in {"amx", "avx512_bf16"}


def has_loops() -> bool:
    """Whether the loops have been measured on such processors."""
    return processor() in {"amx", "avx512_bf16", "avx512", "avx2"}


def text(shape: Shape) -> str:
    """A shape as the table names it."""
    sizes = f"{shape.inputs}>{shape.outputs} {shape.height}x{shape.width}"
    return f"{sizes} k{_pair(shape.kernel)} s{_pair(shape.stride)} p{_pair(shape.padding)}"


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
