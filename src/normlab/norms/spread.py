"""Roots of mean squares and of variances, in plain torch: exact far from 0 and on very large maps.

Two things cost digits, or all of them, when the textbook formula is written down:

- a mean far from 0. The gradient of the variance is 2 (x - mean) / n; around a mean that is rounded
  to float32 every term is off by the same amount. Here var = mean(o^2) - mean(o)^2 with o = x - c,
  which holds for any constant c: with c near the mean nothing cancels, and what c lacks is
  taken off again, in the value and in every derivative;
- squares beyond the dtype's range. Maps are multiplied by a power of two first, which rounds
  nothing, and results are kept in those units: sqrt(scale^2 * (var + eps)) = scale * std.

All is differentiable any number of times, and works under vmap, jvp, tracing and export.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unit_scale(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """A power of two, at most 1, that brings the largest absolute value over dims below 2.

    Constant for autograd: results must not depend on it but for rounding.

    Returns:
        Shape of x with 1 for each of dims. 1 where there are no values.
    """
    if not x.numel():
        return x.new_ones([1 if dim in dims else size for dim, size in enumerate(x.shape)])
    values = x.detach()
    peak = torch.maximum(values.amax(dims, keepdim=True), -values.amin(dims, keepdim=True))
    return torch.exp2(-peak.log2().floor().clamp(0, 126))


def scaled_variance(x: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Biased variance of scale * x over dims, which stay with size 1."""
    center = (x.detach() * scale).mean(dims, keepdim=True)
    offset = torch.addcmul(-center, x, scale)
    var = offset.square().mean(dims, keepdim=True) - offset.mean(dims, keepdim=True).square()
    return var.clamp_min(0)  # maps without spread: the difference may be a rounding below 0


def scaled_root(square: Tensor, scale: Tensor, eps: float | Tensor) -> Tensor:
    """``sqrt(square + scale^2 * eps)``: the root of a scaled variance or mean square, above 0."""
    tiny = torch.finfo(square.dtype).tiny  # scale^2 * eps may underflow: a constant map of 1e20
    return torch.sqrt(square + (scale * scale * eps).clamp_min(tiny))
