"""What a model costs: operations of its forward pass, and memory."""

from __future__ import annotations

import sys
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from normlab.models import build
from normlab.recipe import Recipe


@cache
def flops(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> int | None:
    """Floating point operations of one image's forward pass, as torch counts them.

    Matrix products and convolutions, two for each multiplication with its addition; norms and
    activations are left out, as is usual. None of a model that cannot be looked at without
    computing.
    """
    counter = FlopCounterMode(display=False)
    try:
        model = build(recipe, shape, num_classes, device="meta").model.eval()
        with counter, torch.no_grad():
            model(torch.empty(1, *shape, device="meta"))
    except (RuntimeError, NotImplementedError):
        return None
    return int(counter.get_total_flops())


def peak_memory(device: torch.device) -> int | None:
    """Bytes: allocated at most on a GPU; the largest resident size of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
