"""How a trial computes, read off its model: a part of the trial's provenance."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from normlab.norms.kernels import choose
from normlab.source import source_hash
from normlab.train.precision import maps_dtype


def computes(model: nn.Module, images: Tensor, precision: str) -> dict[str, str]:
    """How a model computes.

    Args:
        model: As it trains.
        images: As it gets them, (N, C, H, W).
        precision: The recipe's.

    Returns:
        `layout`, "channels_last" or "contiguous"; `precision`, "float32", "float64" or "bfloat16
        autocast"; `kernels`, the sets of kernels and their versions.
    """
    autocast = " autocast" if precision == "bfloat16" else ""
    return {
        "layout": layout([*model.parameters(), images]),
        "precision": f"{precision}{autocast}",
        "kernels": kernel_set(images.device.type, maps_dtype(precision)),
    }


def layout(tensors: Iterable[Tensor]) -> str:
    """How tensors lie: "channels_last" if any does, else "contiguous".

    Only those of four dimensions count, with several channels and several pixels: of others both
    layouts are one.
    """
    maps = [t for t in tensors if t.ndim == 4 and t.shape[1] > 1 and t.shape[2] * t.shape[3] > 1]
    lasts = (t.is_contiguous(memory_format=torch.channels_last) for t in maps)
    return "channels_last" if any(lasts) else "contiguous"


def kernel_set(device: str, dtype: torch.dtype) -> str:
    """The kernels of the norms for maps of a dtype, by name, with the version of their source."""
    norms = choose(torch.empty(1, 1, 1, 1, dtype=dtype, device=device))
    return f"norms {norms.NAME} {source_hash('norms/kernels')}"
