"""Freed memory: what of it stays with the process, and what goes back between trials.

On a CPU it stays: glibc gives large blocks back to the kernel as soon as they are freed, and a
training step then pays for the same pages again: a tenth to a quarter of a small net's step. What
is freed here waits for the next step instead, up to the bounds below.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 512 << 20  # bytes at the top of the heap that are not given back
_LARGEST = 32 << 20  # larger blocks come from the kernel each time; glibc allows no more


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed, once a process; False where it is not glibc."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))


def give_back_memory(device: str) -> None:
    """Give back to a GPU what torch keeps of trials that have ended.

    torch keeps freed memory of a GPU for its own next tensors, in blocks of the sizes that were
    asked for: those of a large model are lost to other processes, and may not fit the next trial.
    Once a trial costs nothing that can be measured. Nothing on a CPU, where freed memory stays.

    Args:
        device: Where the trial was trained.
    """
    if torch.device(device).type != "cuda":
        return
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()  # hooks and the tensors that they hold can be cycles
        torch.cuda.empty_cache()
