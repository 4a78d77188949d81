"""Mistakes to plant in the compiled loops' way, which the search must find."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from normlab.norms.kernels import cpu


def unchecked() -> None:
    """Addresses go into the loops whatever the tensors are.

    The one place that knows how the boundary is written: change it with the boundary.
    """

    def call(task: Any, threads: int, numbers: Any, made: Any, given: Any, _: Any) -> bool:
        addresses = [0 if tensor is None else tensor.data_ptr() for tensor in (*made, *given)]
        arguments = array("q", [*numbers, *addresses])
        task(arguments.buffer_info()[0], threads)
        return True

    cpu.call = call


PLANTS: dict[str, Callable[[], None]] = {"unchecked": unchecked}
