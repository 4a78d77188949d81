"""Gradient clipping: adaptive per unit (AGC), and by the norm of the whole gradient.

    AGC, per output unit i:   if |g_i| > clip * max(|w_i|, eps):
                                  g_i = g_i * clip * max(|w_i|, eps) / max(|g_i|, 1e-6)
    global norm:              if |g| > limit:  g = g * limit / |g|

AGC is that of Brock, De, Smith & Simonyan 2021 (arXiv:2102.06171). Units of a weight are its first
dimension, with the norm over all others; a gain or bias is one vector. How a model's parameters are
handed over in that form, a transposed convolution's among them, says `normlab.models.units`. The
floor eps lets parameters that start at zero move. Acts on the gradient of the whole loss, penalties
included, before momentum and decoupled decay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-6


def unit_norms(x: Tensor) -> Tensor:
    """2-norms of the output units of a parameter or gradient, shaped to multiply it."""
    dims = tuple(range(1, x.ndim)) if x.ndim > 1 else None
    norms: Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=True)
    return norms


@torch.no_grad()
def clip_adaptively(weights: Sequence[Tensor], clip: float, eps: float = 1e-3) -> Tensor:
    """Clip the gradients of `weights` in place; returns the share of units clipped, a scalar.

    A weight without a gradient is left out.
    """
    clipped = [weight for weight in weights if weight.grad is not None]
    gradients = [weight.grad for weight in clipped if weight.grad is not None]
    if not gradients:
        return torch.zeros(())
    # The norms of all units lie in one vector: what follows them is a handful of calls in all.
    norms = [unit_norms(gradient) for gradient in gradients]
    norm = torch.cat([each.flatten() for each in norms])
    largest = clip * torch.cat([unit_norms(weight).flatten() for weight in clipped]).clamp_min(eps)
    over = norm > largest
    factors = torch.where(over, largest / norm.clamp_min(TINY), 1.0)
    parts = torch.split(factors, [each.numel() for each in norms])
    shaped = [part.view_as(each) for part, each in zip(parts, norms, strict=True)]
    torch._foreach_mul_(gradients, shaped)
    return over.sum() / over.numel()


@torch.no_grad()
def clip_by_norm(weights: Sequence[Tensor], limit: float) -> Tensor:
    """Scale all gradients down to a common norm in place; returns the norm before, a scalar.

    As `torch.nn.utils.clip_grad_norm_`, but exact: nothing is added to the norm.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, torch.where(norm > limit, limit / norm, 1.0))
    return norm
