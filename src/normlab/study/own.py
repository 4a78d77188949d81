"""Which of the user's own code a recipe names, and what was read of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from normlab.data.own.source import OWN_DATA
from normlab.own import is_import_path
from normlab.own_code import OwnCode, read
from normlab.recipe import Recipe, own_parts
from normlab.recipe.data import OwnData
from normlab.records.plan import ArmRecord, PlanRecord

_loaded: dict[tuple[str, ...], str] = {}
"""Hash of the own code that this process has loaded, by the import paths that name it."""


def import_paths(recipe: Recipe) -> tuple[str, ...]:
    """The own data, model and norm of a recipe, each as ``package.module:name``.

    So are options of theirs that are written like that: they import what those name.
    """
    paths: list[str] = []
    for part in own_parts(recipe):
        paths += [part.import_path, *_written(part.options)]
    return tuple(dict.fromkeys(paths))


def own_code(recipe: Recipe, files: Sequence[str] = ()) -> OwnCode | None:
    """The own code that a recipe's trials rest on; None where there is none.

    Args:
        recipe: What names data, a model or a norm by import path.
        files: The study's `code`: these count where anything of the recipe is own code.

    Raises:
        UserError: A file that cannot be read, or a module that was changed after it was loaded.
    """
    paths = import_paths(recipe)
    if not paths:
        return None
    found = read(paths, {name: Path(name) for name in files})
    return found if found.parts else None


def look_at_data(recipe: Recipe) -> None:
    """Have own data made anew where their code is other than when they were made."""
    if isinstance(recipe.data, OwnData):
        paths = (recipe.data.import_path, *_written(recipe.data.options))
        OWN_DATA.made_by(recipe.data, read(paths).digest)


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


def said(arms: Sequence[ArmRecord], stored: PlanRecord | None) -> tuple[list[str], list[str]]:
    """What is to be said of the own code in a plan.

    Args:
        arms: The plan's.
        stored: The plan of the last run as recorded, if there was one.

    Returns:
        A sentence for each set of modules that counts, and one for each that changed since.
    """
    groups: dict[tuple[str, ...], list[ArmRecord]] = {}
    for arm in arms:
        if arm.code:
            groups.setdefault(tuple(sorted(arm.code)), []).append(arm)
    counts = [
        f"the code of {listed(names)} is part of the trials' ids ({_arms(having)})"
        for names, having in groups.items()
    ]
    before = {arm.label: arm for arm in stored.arms} if stored else {}
    changes: dict[tuple[str, ...], list[ArmRecord]] = {}
    for arm in arms:
        old = before.get(arm.label)
        if not arm.code or old is None or old.recipe != arm.recipe:
            continue
        if names := tuple(changed(old.code, arm.code)):
            changes.setdefault(names, []).append(arm)
    new = [
        f"changed since the last run: {listed(names)}. Its trials are new ones ({_arms(having)}); "
        "those of the code before stay stored, and come back with it"
        for names, having in changes.items()
    ]
    return counts, new


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a row, the first of them where they are many."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _arms(arms: Sequence[ArmRecord]) -> str:
    return listed([arm.label for arm in arms], most=4)


def _written(options: object) -> Iterator[str]:
    """The import paths among the values of options."""
    if isinstance(options, str):
        if is_import_path(options):
            yield options
    elif isinstance(options, Mapping | list | tuple):
        for value in options.values() if isinstance(options, Mapping) else options:
            yield from _written(value)
