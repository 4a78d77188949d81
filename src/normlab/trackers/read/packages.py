"""The packages whose own code reads a tool's logs: imported when they are needed, or asked for."""

from __future__ import annotations

import importlib
from types import ModuleType

from normlab.errors import UserError


def needed(module: str, *, what: str) -> ModuleType:
    """Import a module of a tool's own package.

    Args:
        module: Its import path.
        what: What it is to read, at the beginning of the message: "TensorBoard's event files".

    Raises:
        UserError: The package is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        why = "is not installed" if error.name == package else f"cannot be imported ({error})"
        raise UserError(
            f"{what} are read by the package {package}, which {why}: "
            "pip install 'normlab[trackers]'"
        ) from None
