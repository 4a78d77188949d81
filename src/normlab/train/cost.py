"""What a model costs: operations of its forward pass, and memory."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

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


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; its largest size where only that is told."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return peak_memory(torch.device("cpu"))
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_memory(device: torch.device) -> int | None:
    """Bytes that nothing takes yet, of the device or the machine; None where it is not told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None
