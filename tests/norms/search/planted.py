"""Mistakes to plant in the compiled loops' way, which the search must find."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

from normlab.norms.kernels import boundary, cpu


def unchecked() -> None:
    """Addresses go into the loops whatever the tensors are.

    The one place that knows how the boundary is written: change it with the boundary.
    """

    def call(task: Any, threads: int, x: Any, given: Iterable[int | boundary.Argument]) -> bool:
        values = [
            a if not isinstance(a, tuple) else 0 if a[1] is None else a[1].data_ptr() for a in given
        ]
        task((ctypes.c_int64 * len(values))(*values), threads)
        return True

    cpu.call = call


PLANTS: dict[str, Callable[[], None]] = {"unchecked": unchecked}
