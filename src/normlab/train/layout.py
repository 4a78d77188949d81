"""How maps lie in memory while a model trains: a static rule, measured by `benchmarks/layouts.py`.

Channels-last puts the channels of a pixel side by side: the convolutions, norms and pools here are
faster on such maps on every processor measured. float64 on a CPU has no fast convolution in either
layout, and float32 on a GPU is faster with the pixels of a channel side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normlab.convolutions import Conv2d

_CHANNELS_LAST = {
    ("cpu", torch.float32),
    ("cpu", torch.bfloat16),
    ("cuda", torch.bfloat16),
}


def layout(model: nn.Module, device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """The memory format of maps and weights.

    Args:
        model: One without a convolution of normlab's keeps torch's default: a model of the user's
            may flatten its maps by `view`, which needs it.
        device: Where it trains.
        dtype: Of its convolutions.
    """
    ours = any(isinstance(module, Conv2d) for module in model.modules())
    if ours and (device.type, dtype) in _CHANNELS_LAST:
        return torch.channels_last
    return torch.contiguous_format


def take(images: Tensor, chosen: Tensor) -> Tensor:
    """Some of the images (N, C, H, W), by index (M,), lying as they do."""
    if images.is_contiguous():
        return images.index_select(0, chosen)  # a quarter of the time of images[chosen]
    return images.permute(0, 2, 3, 1).index_select(0, chosen).permute(0, 3, 1, 2)
