"""Freed memory that stays with the process.

glibc gives large blocks back to the kernel as soon as they are freed, and a training step then pays
for the same pages again: a tenth to a quarter of a small net's step. What is freed here waits for
the next step instead, up to the bounds below.
"""

from __future__ import annotations

import ctypes
from functools import cache

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
