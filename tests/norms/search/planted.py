"""Mistakes to plant in the compiled loops' way, which the search must find."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from normlab.norms.kernels import boundary, cpu


def _address(argument: boundary.Argument) -> int:
    return 0 if argument[1] is None else argument[1].data_ptr()


def unchecked() -> None:
    """Addresses go into the loops whatever the tensors are.

    The one place that knows how the boundary is written: change it with the boundary.
    """

    def call(task: Any, threads: int, x: Any, given: Iterable[int | boundary.Argument]) -> bool:
        values = [
            a.data_ptr()
            if isinstance(a, Tensor)
            else a
            if not isinstance(a, tuple)
            else _address(a)
            for a in given
        ]
        task(array("q", values).buffer_info()[0], threads)
        return True

    cpu.call = call


PLANTS: dict[str, Callable[[], None]] = {"unchecked": unchecked}
