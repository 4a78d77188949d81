"""The primitive functions in plain torch: any device, any dtype, differentiable twice.

All work on maps x of shape (N, C, H, W). Everything is written in x - center: written in raw x, a
mean of 100 loses a digit of float32 and a mean of 1e4 loses three.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
        Two tensors of shape (N, C), in float32 or wider.
    """
    var, mean = torch.var_mean(x.to(statistics_dtype(x)), dim=(2, 3), correction=0)
    return mean, var


def affine(x: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool = False) -> Tensor:
    """``scale * (x - center) + shift``, then ReLU if asked.

    Args:
        x: Maps, shape (N, C, H, W).
        center: Subtracted first, shape (N, C) or (C,).
        scale: Shape (N, C) or (C,).
        shift: Shape (N, C) or (C,).
        relu: Apply max(., 0).

    Returns:
        Maps of x's shape and dtype, computed in the dtype of the factors.
    """
    center, scale, shift = (factor[..., None, None] for factor in (center, scale, shift))
    y = torch.addcmul(shift, x - center, scale)
    return (y.relu() if relu else y).to(x.dtype)
