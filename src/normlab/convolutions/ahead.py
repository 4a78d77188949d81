"""What a model's convolutions will run, found and compiled before it trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from normlab.convolutions.choice import choose
from normlab.convolutions.layer import Conv2d
from normlab.convolutions.loops import run, run_winograd
from normlab.convolutions.shape import Pair, Shape
from normlab.convolutions.ways import PASSES


def shapes(model: nn.Module, images: tuple[int, ...]) -> Counter[Shape]:
    """The shapes of a model's own convolutions, and how often each is there.

    Args:
        model: On the meta device.
        images: Shape of a batch, (N, C, H, W).
    """
    found: Counter[Shape] = Counter()

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, Conv2d)
        if layer.has_ways():
            _, channels, height, width = inputs[0].shape
            kernel, stride, padding = (
                cast("Pair", pair) for pair in (layer.kernel_size, layer.stride, layer.padding)
            )
            outputs = layer.out_channels
            found[Shape(channels, outputs, height, width, kernel, stride, padding)] += 1

    handles = [
        module.register_forward_pre_hook(note)
        for module in model.modules()
        if isinstance(module, Conv2d)
    ]
    try:
        # Who counts operations counts those of the training.
        with torch.no_grad(), _disable_current_modes():
            model(torch.empty(images, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return found


def prepare(wanted: Iterable[Shape], images: int, dtype: torch.dtype) -> None:
    """Compile or load the loops that shapes run in batches of so many images."""
    for shape in wanted:
        for which, way in zip(PASSES, choose(shape, images, dtype), strict=True):
            if way == "rows" or way == "pixels":  # noqa: PLR1714 (mypy follows it)
                run.prepare(way, shape, images, which, dtype)
            elif way == "winograd":
                run_winograd.prepare(shape, which, dtype)
