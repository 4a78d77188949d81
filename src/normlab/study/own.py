"""Which of the user's own code a recipe names, and what was read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from normlab.own_code import OwnCode, read
from normlab.recipe import Component, Recipe
from normlab.recipe.models import OwnModel
from normlab.recipe.norms import OwnNorm

_loaded: dict[tuple[str, ...], str] = {}
"""Hash of the own code that this process has loaded, by the import paths that name it."""


def import_paths(recipe: Recipe) -> tuple[str, ...]:
    """The own model and the own norm of a recipe as ``package.module:Class``."""
    return tuple(
        _import_path(part, group)
        for part, own, group in (
            (recipe.model, OwnModel, "normlab.models"),
            (recipe.norm, OwnNorm, "normlab.norms"),
        )
        if isinstance(part, own)
    )


def own_code(recipe: Recipe, files: Sequence[str] = ()) -> OwnCode | None:
    """The own code that a recipe's trials rest on; None where there is none.

    Args:
        recipe: What names a model or norm by import path.
        files: The study's `code`: these count where anything of the recipe is own code.

    Raises:
        UserError: A file that cannot be read, or a module that was changed after it was loaded.
    """
    paths = import_paths(recipe)
    if not paths:
        return None
    found = read(paths, {name: Path(name).expanduser() for name in files})
    return found if found.parts else None


def loaded_as_planned(recipe: Recipe, files: Sequence[str], planned: str | None) -> bool:
    """Whether what this process runs of the recipe's own code is what was planned.

    What it has loaded once stays: a file that is edited while trials run changes none of them.
    """
    paths = import_paths(recipe)
    if _loaded.get(paths) == planned:
        return True
    found = own_code(recipe, files)
    return (found.digest if found else None) == planned


def remember_loaded(recipe: Recipe, digest: str) -> None:
    """The recipe's own code was loaded as it was read."""
    _loaded[import_paths(recipe)] = digest


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The modules and files whose hashes differ, or that only one of the two has."""
    names = sorted(before.keys() | now.keys())
    return [name for name in names if before.get(name) != now.get(name)]


def _import_path(part: Component, group: str) -> str:
    points = {point.name: point.value for point in entry_points(group=group)}
    return points.get(part.kind, part.kind)
