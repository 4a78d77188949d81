"""The threads that native loops run on: torch's own OpenMP team.

It is the only one that does not contend with torch's threads: between two operations they wait at
full speed.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch


@cache
def openmp() -> ctypes.CDLL | None:
    """The OpenMP runtime torch runs on, if it is GNU's; without it every loop has one thread."""
    root = Path(torch.__file__).parent
    for folder in (root / "lib", root.parent / "torch.libs"):
        for path in sorted(folder.glob("libgomp*.so*")):
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    return None


@cache
def thread_number() -> int:
    """The address of the function that tells a thread its number in the team; 0 without one."""
    runtime = openmp()
    if runtime is None:
        return 0
    function: Any = runtime.omp_get_thread_num
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


@cache
def _parallel() -> Any:
    runtime = openmp()
    assert runtime is not None
    team: Any = runtime.GOMP_parallel
    team.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    team.restype = None
    return team


def on_team(address: int, arguments: int, threads: int) -> None:
    """Run the function at an address on each thread of a team, with the arguments at another."""
    _parallel()(address, arguments, threads, 0)
