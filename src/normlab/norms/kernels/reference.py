"""The norms in plain torch: any device, any dtype, differentiable any number of times.

All work on maps x of shape (N, C, H, W). Everything is written in x - center: written in raw x, a
mean of 100 loses a digit of float32 and a mean of 1e4 loses three. No size of a batch is taken as a
plain number, so that a trace holds for any.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.kernels.spec import Spec

NAME = "reference"


def supports(_: Tensor) -> bool:
    """Whether this backend can work on a tensor as it lies: always."""
    return True


def probe() -> None:
    """Raise if the backend cannot work here: never."""


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype of statistics of x: at least float32, so that bfloat16 maps keep their variance."""
    return torch.promote_types(x.dtype, torch.float32)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over height and width, per image and channel.

    Args:
        x: Maps, shape (N, C, H, W).

    Returns:
        Two tensors of shape (N, C), in float32 or wider; on the CPU in float64.
    """
    # In float64, where a device has it at speed, no digits are lost at large means, no square of
    # 1e20 overflows, and no cubed root of it vanishes. Narrower maps have no such means or squares.
    has_float64 = x.device.type in {"cpu", "meta"}
    wide = torch.float64 if has_float64 and x.dtype is torch.float32 else statistics_dtype(x)
    var, mean = torch.var_mean(x.to(wide), dim=(2, 3), correction=0)
    return (mean.double(), var.double()) if has_float64 else (mean, var)


def affine(x: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool = False) -> Tensor:
    """``scale * (x - center) + shift``, then ReLU if asked.

    Args:
        x: Maps, shape (N, C, H, W).
        center: Subtracted first, shape (N, C) or (C,).
        scale: Shape (N, C) or (C,).
        shift: Shape (N, C) or (C,).
        relu: Apply max(., 0).

    Returns:
        Maps of x's shape and dtype, computed in float32 or wider. What rounding a center in float64
        leaves over is in the shift.
    """
    narrow = torch.promote_types(x.dtype, torch.float32)
    rounded = center.to(narrow)
    shift = shift - scale * (center - rounded)
    center, scale, shift = (
        factor.to(narrow)[..., None, None] for factor in (rounded, scale, shift)
    )
    y = torch.addcmul(shift, x - center, scale)
    return (y.relu() if relu else y).to(x.dtype)


def with_affine(
    scale: Tensor, shift: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scale and shift of the same map followed by gain and bias."""
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    return scale, shift if bias is None else shift + bias


def pooled(
    spec: Spec, x: Tensor, weight: Tensor | None, bias: Tensor | None, gate: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """A kind whose statistics are those of blocks.

    Returns:
        The normalized map, and the blocks' mean and biased variance, each (splits, groups).
    """
    mean, var = moments(x)
    factors = spec.pooling.coefficients(mean, var, spec.eps, gate)
    y = affine(x, mean, *with_affine(*factors, weight, bias), spec.relu)
    return y, *spec.pooling.pool(mean.detach(), var.detach())
