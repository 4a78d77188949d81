"""Losses by name: (logits (N, K), targets) to the mean over images.

Targets are classes (N,), or the weight of every class (N, K), summing to 1.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the softmax: -sum of target * log p."""
    return F.cross_entropy(logits, _typed(logits, targets))


def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean square of logits minus one-hot targets (Hui & Belkin 2021, arXiv:2006.07322)."""
    if targets.ndim == 1:
        targets = F.one_hot(targets, logits.shape[1])
    return F.mse_loss(logits, targets.to(logits.dtype))


def _typed(logits: Tensor, targets: Tensor) -> Tensor:
    return targets if targets.ndim == 1 else targets.to(logits.dtype)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
}
