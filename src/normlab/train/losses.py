"""Losses by name: (logits (N, K), labels (N,)) to the mean over images."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the softmax: -log p[label]."""
    return F.cross_entropy(logits, labels)


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean square of logits minus one-hot labels (Hui & Belkin 2021, arXiv:2006.07322)."""
    return F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
}
