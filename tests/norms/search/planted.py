"""Mistakes to plant in the compiled loops' way, which the search must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normlab.norms.kernels import cpu


def unchecked() -> None:
    """Pointers go into the loops whatever the tensors are.

    The one place that knows how the boundary is written: change it with the boundary.
    """
    plan: Any = cpu.PooledPlan
    plan.fits = lambda self, *parts: tuple(part is None for part in parts) == self.planned
    cpu.supports = lambda x: x.dtype in cpu.DTYPES


PLANTS: dict[str, Callable[[], None]] = {"unchecked": unchecked}
