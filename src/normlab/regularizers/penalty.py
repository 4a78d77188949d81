"""L1 and L2 penalties and decoupled weight decay.

    loss + l1 * sum |w| + (l2 / 2) * sum w^2        gradient: + l1 * sign(w) + l2 * w
    decay: w = w * (1 - lr * weight_decay) before the optimizer's step

The penalties enter as their exact gradient, added after the backward pass: the same numbers as
adding them to the loss, without a graph over every weight. torch's SGD `weight_decay` is `l2`
here; `weight_decay` is AdamW's (Loshchilov & Hutter 2019), whatever the optimizer.

All three leave a frozen weight (`requires_grad` False) alone, and look each time whether it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def add_l1_gradient(weights: Sequence[Tensor], strength: float) -> None:
    """Add ``strength * sign(w)`` to the gradient of each weight, in place; 0 at w = 0."""
    weights = _trained(weights)
    if strength and weights:
        signs = torch._foreach_sign([w.detach() for w in weights])
        torch._foreach_add_(_gradients(weights), signs, alpha=strength)


def add_l2_gradient(weights: Sequence[Tensor], strength: float) -> None:
    """Add ``strength * w``, the gradient of ``strength / 2 * w^2``, to each gradient, in place."""
    weights = _trained(weights)
    if strength and weights:
        torch._foreach_add_(_gradients(weights), [w.detach() for w in weights], alpha=strength)


def decay(weights: Sequence[Tensor], strength: float, lr: float) -> None:
    """Multiply each weight by ``1 - lr * strength``, in place, outside of autograd."""
    weights = _trained(weights)
    if strength and weights:
        with torch.no_grad():
            torch._foreach_mul_(weights, 1 - lr * strength)


def _trained(weights: Sequence[Tensor]) -> list[Tensor]:
    return [w for w in weights if w.requires_grad]


def _gradients(weights: Sequence[Tensor]) -> list[Tensor]:
    # A weight the loss does not reach has no gradient yet; the penalty reaches it all the same.
    for w in weights:
        if w.grad is None:
            w.grad = torch.zeros_like(w)
    return [w.grad for w in weights if w.grad is not None]
