"""What a recipe's `precision` means for a model: dtypes, and the context its forward runs in.

`bfloat16` is torch's autocast: convolutions and linear layers, and the maps between them, in
bfloat16; weights, norm statistics, logits, loss and optimizer in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def weights_dtype(precision: str) -> torch.dtype:
    """The dtype of weights, statistics, images, logits, loss and optimizer."""
    return torch.float64 if precision == "float64" else torch.float32


def maps_dtype(precision: str) -> torch.dtype:
    """The dtype of the maps that layers hand on."""
    return torch.bfloat16 if precision == "bfloat16" else weights_dtype(precision)


def computing(precision: str, device: str) -> AbstractContextManager[object]:
    """The context of every forward pass: in training, evaluation and diagnostics alike.

    Args:
        precision: The recipe's.
        device: "cpu" or "cuda".
    """
    if precision == "bfloat16":
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def exact_products() -> AbstractContextManager[object]:
    """The context of a whole trial: float32 means float32, and each call has the same algorithm.

    cudnn's default is TF32, with 10 bits of mantissa.
    """
    flags: AbstractContextManager[object] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
