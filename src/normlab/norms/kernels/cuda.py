"""The CUDA backend: Triton kernels, one program a row of (image, channel).

Triton comes with torch's CUDA builds. A row's pixels are read in blocks; sums are kept in float32,
or float64 for float64 maps, and made by one program in one order, so that runs repeat bit for bit.
Maps lie contiguous; channels_last maps go to the reference. Where there is no GPU the kernels run
in Triton's interpreter (``TRITON_INTERPRET=1``), which is how the tests see them.
"""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

NAME = "cuda"
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_BLOCK = 1024


def probe() -> None:
    """Raise RuntimeError where Triton has neither a GPU nor its interpreter."""
    if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")


def supports(x: Tensor) -> bool:
    """Whether the kernels can read x as it lies."""
    here = x.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    return here and x.dtype in DTYPES and x.is_contiguous() and x.numel() < 2**31


@triton.jit
def _moments(x, mean, var, P, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], WIDE)
    for first in range(0, P, BLOCK):
        inside = first + lanes < P
        total += tl.load(x + row * P + first + lanes, mask=inside, other=0.0).to(WIDE)
    center = tl.sum(total, 0) / P
    rest = tl.zeros([BLOCK], WIDE)
    square = tl.zeros([BLOCK], WIDE)
    for first in range(0, P, BLOCK):
        inside = first + lanes < P
        value = tl.load(x + row * P + first + lanes, mask=inside, other=0.0).to(WIDE)
        d = tl.where(inside, value - center, 0.0)
        rest += d
        square += d * d
    # What the rounding of the first mean left over: it matters where mean >> deviation.
    left = tl.sum(rest, 0) / P
    tl.store(mean + row, center + left)
    tl.store(var + row, tl.maximum(tl.sum(square, 0) / P - left * left, 0.0))


@triton.jit
def _affine(
    x, center, scale, shift, y, P, C, ROWS: tl.constexpr, RELU: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    at = row if ROWS else row % C
    s, a, b = tl.load(center + at), tl.load(scale + at), tl.load(shift + at)
    lanes = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = lanes < P
    value = tl.load(x + row * P + lanes, mask=inside, other=0.0).to(WIDE)
    out = (value - s) * a + b
    if RELU:
        out = tl.where(out <= 0, 0.0, out)
    tl.store(y + row * P + lanes, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _sums(
    x, dy, center, scale, shift, d0, d1, P, C, ROWS: tl.constexpr, RELU: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    at = row if ROWS else row % C
    s, a, b = tl.load(center + at), tl.load(scale + at), tl.load(shift + at)
    lanes = tl.arange(0, BLOCK)
    s0 = tl.zeros([BLOCK], WIDE)
    s1 = tl.zeros([BLOCK], WIDE)
    for first in range(0, P, BLOCK):
        inside = first + lanes < P
        t = tl.load(x + row * P + first + lanes, mask=inside, other=0.0).to(WIDE) - s
        e = tl.load(dy + row * P + first + lanes, mask=inside, other=0.0).to(WIDE)
        if RELU:
            e = tl.where(t * a + b <= 0, 0.0, e)
        s0 += e
        s1 += e * t
    tl.store(d0 + row, tl.sum(s0, 0))
    tl.store(d1 + row, tl.sum(s1, 0))


@triton.jit
def _dx(
    x, dy, center, scale, shift, fa, fb, fc, out, P, C, ROWS: tl.constexpr, RELU: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    at = row if ROWS else row % C
    s, a, b = tl.load(center + at), tl.load(scale + at), tl.load(shift + at)
    ga, gb, gc = tl.load(fa + at), tl.load(fb + at), tl.load(fc + at)
    lanes = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = lanes < P
    t = tl.load(x + row * P + lanes, mask=inside, other=0.0).to(WIDE) - s
    e = tl.load(dy + row * P + lanes, mask=inside, other=0.0).to(WIDE)
    if RELU:
        e = tl.where(t * a + b <= 0, 0.0, e)
    tl.store(out + row * P + lanes, (ga * e + gb * t + gc).to(out.dtype.element_ty), mask=inside)


def _wide(x: Tensor) -> tuple[torch.dtype, tl.dtype]:
    """The dtype of statistics, for torch and for Triton."""
    wide = x.dtype is torch.float64
    return (torch.float64, tl.float64) if wide else (torch.float32, tl.float32)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """Rows, channels and pixels of a row."""
    return x.shape[0] * x.shape[1], x.shape[1], x.shape[2] * x.shape[3]


def _block(pixels: int) -> int:
    return min(_BLOCK, triton.next_power_of_2(pixels))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, each (N, C)."""
    rows, _, P = _sizes(x)
    dtype, wide = _wide(x)
    mean, var = torch.empty((2, *x.shape[:2]), dtype=dtype, device=x.device).unbind()
    _moments[(rows,)](x, mean, var, P, WIDE=wide, BLOCK=_block(P))
    return mean, var


def moments_dtype(x: Tensor) -> torch.dtype:
    """The dtype of statistics and factors of every (n, c): float32, or float64 for float64 maps."""
    return _wide(x)[0]


def affine(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """``scale * (x - mean) + shift`` and ReLU; factors (N, C) or (C,)."""
    rows, C, P = _sizes(x)
    y = torch.empty_like(x)
    block = _block(P)
    _affine[(rows, triton.cdiv(P, block))](
        x, *_factors(x, mean, scale, shift), y, P, C, ROWS=mean.dim() == 2, RELU=relu,
        WIDE=_wide(x)[1], BLOCK=block,
    )  # fmt: skip
    return y


def sums(
    x: Tensor, dy: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of dy and dy * (x - mean), dy taken through the ReLU, each (N, C)."""
    rows, C, P = _sizes(x)
    dtype, wide = _wide(x)
    d0, d1 = torch.empty((2, *x.shape[:2]), dtype=dtype, device=x.device).unbind()
    _sums[(rows,)](
        x, dy.contiguous(), *_factors(x, mean, scale, shift), d0, d1, P, C, ROWS=mean.dim() == 2,
        RELU=relu, WIDE=wide, BLOCK=_block(P),
    )  # fmt: skip
    return d0, d1


def dx(
    x: Tensor,
    dy: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    relu: bool,
    slopes: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """``scale * dy``, dy through the ReLU, plus what reaches x by its moments.

    `factors` are mean, scale and shift; `slopes` var, dmean and dvar, (N, C):
    dmean / P + 2 * dvar / P * (x - mean) is added.
    """
    rows, C, P = _sizes(x)
    mean, scale, shift = _factors(x, *factors)
    zero = torch.zeros_like(scale)
    slope, level = zero, zero
    if slopes is not None:
        _, dmean, dvar = _factors(x, *slopes)
        slope, level = 2 * dvar / P, dmean / P
    out = torch.empty_like(x)
    block = _block(P)
    _dx[(rows, triton.cdiv(P, block))](
        x, dy.contiguous(), mean, scale, shift, scale, slope, level, out, P, C,
        ROWS=mean.dim() == 2, RELU=relu, WIDE=_wide(x)[1], BLOCK=block,
    )  # fmt: skip
    return out


def _factors(x: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
    """Arrays in the dtype of statistics, side by side."""
    return tuple(factor.to(_wide(x)[0]).contiguous() for factor in factors)
