"""How a trial computes, read off its model: a part of the trial's provenance."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from normlab.convolutions import Conv2d
from normlab.convolutions.choice import processor
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
        "kernels": kernel_set(model, images.device.type, maps_dtype(precision)),
    }


def layout(tensors: Iterable[Tensor]) -> str:
    """How tensors lie: "channels_last" if any does, else "contiguous".

    Only those of four dimensions count, with several channels and several pixels: of others both
    layouts are one.
    """
    maps = [t for t in tensors if t.ndim == 4 and t.shape[1] > 1 and t.shape[2] * t.shape[3] > 1]
    lasts = (t.is_contiguous(memory_format=torch.channels_last) for t in maps)
    return "channels_last" if any(lasts) else "contiguous"


def kernel_set(model: nn.Module, device: str, dtype: torch.dtype) -> str:
    """The kernels of norms and convolutions for maps of a dtype, with the versions of their source.

    Norms' are named by their backend, convolutions' by the kind of processor whose part of the
    table they follow; "torch" where all convolutions are torch's own.
    """
    norms = choose(torch.empty(1, 1, 1, 1, dtype=dtype, device=device)).NAME
    named = f"norms {norms} {source_hash('norms/kernels', 'native')}"
    has_table = device == "cpu" and dtype in {torch.float32, torch.bfloat16}
    if has_table and any(isinstance(module, Conv2d) for module in model.modules()):
        return f"{named}; convolutions {processor()} {source_hash('convolutions', 'native')}"
    return f"{named}; convolutions torch"
