"""normlab: controlled studies of normalization and regularization in image classification."""

from __future__ import annotations

# ruff: noqa: E402, PTH109 (what stands below comes before any import)
import os
import sys


def _leave_current_folder_out() -> None:
    """Have `python -m normlab` look for modules where the command `normlab` does.

    Python would look in the current folder first, which may hold a stranger's `re.py`.
    """
    words = f"{' '.join(sys.orig_argv[1:])} "
    looked_up = sys.argv[:1] == ["-m"]  # the package is; no script has begun
    if not looked_up or not ("-m normlab " in words or "-mnormlab " in words):
        return
    here = os.getcwd()
    if (
        not sys.flags.safe_path
        and sys.path[:1] == [here]
        and not __file__.startswith(here + os.sep)
    ):
        del sys.path[0]


_leave_current_folder_out()

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("normlab")

if TYPE_CHECKING:
    from normlab.api import (
        Results,
        Status,
        claims,
        claims_from,
        load_study,
        plan,
        results,
        run,
        status,
        trust_study,
        verify,
    )
    from normlab.errors import UserError
    from normlab.models import swap_norm
    from normlab.recipe import Recipe
    from normlab.study.spec import Study

# Imported on first use: `import normlab` alone loads neither torch nor pandas.
_HOMES = {
    "Recipe": "normlab.recipe",
    "Results": "normlab.api",
    "Status": "normlab.api",
    "Study": "normlab.study.spec",
    "UserError": "normlab.errors",
    "claims": "normlab.api",
    "claims_from": "normlab.api",
    "load_study": "normlab.api",
    "plan": "normlab.api",
    "results": "normlab.api",
    "run": "normlab.api",
    "status": "normlab.api",
    "verify": "normlab.api",
    "swap_norm": "normlab.models",
    "trust_study": "normlab.api",
}

__all__ = [
    "Recipe",
    "Results",
    "Status",
    "Study",
    "UserError",
    "__version__",
    "claims",
    "claims_from",
    "load_study",
    "plan",
    "results",
    "run",
    "status",
    "swap_norm",
    "trust_study",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"norms", "models"}:  # `normlab.norms.make` without importing it by name
        return import_module(f"normlab.{name}")
    raise AttributeError(f"module 'normlab' has no attribute '{name}'")
