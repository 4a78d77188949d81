"""normlab: controlled studies of normalization and regularization in image classification."""

from __future__ import annotations

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
