"""Backends of the work on big tensors, and the choice between them.

| backend | what | for |
| --- | --- | --- |
| reference | plain torch | every device and dtype; double backward; torch.compile, which fuses it |
| cpu | loops compiled by Numba | float32, float64, bfloat16 on the CPU, where Numba is installed |
| cuda | Triton kernels | contiguous maps on a GPU; on request alone, until it is measured on one |

The choice is a fixed table over device, dtype and layout, so that a trial always takes the same
path. `NORMLAB_BACKEND` names one backend for everything it can do. A backend that cannot be loaded
leaves its work to the reference, with one warning.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from normlab.errors import UserError, unknown
from normlab.native.tensors import is_traced
from normlab.norms.kernels import reference
from normlab.norms.kernels.boundary import (
    check_device,
    check_numbers,
    check_state,
    lies,
)
from normlab.norms.kernels.pooling import Pooling, mixed
from normlab.norms.kernels.spec import Running, Spec

BACKENDS = {
    "reference": "normlab.norms.kernels.reference",
    "cpu": "normlab.norms.kernels.cpu",
    "cuda": "normlab.norms.kernels.cuda",
}

# (device, dtype) -> backend; all else is the reference's. Measured: benchmarks/norms.py.
TABLE: dict[tuple[str, torch.dtype], str] = {
    ("cpu", torch.float32): "cpu",
    ("cpu", torch.float64): "cpu",
    ("cpu", torch.bfloat16): "cpu",  # with parameters in float32, as under autocast
}


def choose(x: Tensor) -> ModuleType:
    """The backend for x.

    Raises:
        UserError: `NORMLAB_BACKEND` names none.
    """
    if is_traced(x):
        return reference
    backend = by_table(x.device.type, x.dtype)
    return backend if backend.supports(x) else reference


def by_table(device: str, dtype: torch.dtype) -> ModuleType:
    """The backend for maps of a dtype on a device, if they lie as it can read them.

    Raises:
        UserError: `NORMLAB_BACKEND` names none.
    """
    name = os.environ.get("NORMLAB_BACKEND") or TABLE.get((device, dtype), "reference")
    return reference if name == "reference" else load(name)


def prepare(x: Tensor) -> None:
    """Let the backend for maps like x compile what it needs now instead of in the first step."""
    make_ready = getattr(choose(x), "prepare", None)
    if make_ready is not None:
        make_ready(x.dtype)


def is_prepared(x: Tensor) -> bool:
    """Whether `prepare` has nothing to compile, which can take a minute."""
    asked = getattr(choose(x), "is_prepared", None)
    return asked is None or bool(asked(x.dtype))


@cache
def load(name: str) -> ModuleType:
    """A backend by name; the reference, after one warning, if it cannot be loaded here.

    Raises:
        UserError: There is no such backend.
    """
    if name not in BACKENDS:
        raise UserError(f"NORMLAB_BACKEND: {unknown('backend', name, BACKENDS)}")
    try:
        backend = import_module(BACKENDS[name])
        backend.probe()
    except Exception as error:
        warnings.warn(
            f"the norms' backend '{name}' cannot be loaded ({error}); plain torch takes its place, "
            "with the same results, slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return reference
    return backend


__all__ = [
    "BACKENDS",
    "Pooling",
    "Running",
    "Spec",
    "by_table",
    "check_device",
    "check_numbers",
    "check_state",
    "choose",
    "is_prepared",
    "is_traced",
    "lies",
    "load",
    "mixed",
    "prepare",
    "reference",
]
