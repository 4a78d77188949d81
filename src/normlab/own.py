"""Code that is not normlab's: how it is named, where it lies, and how it is imported.

A model or norm is named by import path, ``package.module:Class``, or by the entry point of an
installed package. Whether a study file's word is enough to import it is for `normlab.study.trust`
to say.
"""

from __future__ import annotations

import re
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from normlab.errors import UserError, unknown

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""``package.module:Class``: plain names, so that the module is what stands before the colon."""


def is_import_path(kind: str) -> bool:
    """Whether a kind is ``package.module:Class``."""
    return _IMPORT_PATH.fullmatch(kind) is not None


def is_own(kind: str, group: str) -> bool:
    """Whether a kind is an import path, or the name of an entry point in that group."""
    return is_import_path(kind) or kind in _points(group)


def module_of(kind: str, group: str) -> str | None:
    """The module that a kind has imported on nobody's word but its own; None for the others.

    An entry point of an installed package is the word of who installed it.
    """
    if is_import_path(kind):
        return kind.partition(":")[0]
    point = _points(group).get(kind)
    return None if point is None or _is_installed(point) else point.module


def locate(module: str) -> str | None:
    """Where a module lies, without importing it or the packages it is in; None: nowhere.

    `importlib.util.find_spec` would import the parents of a submodule.
    """
    first, *rest = module.split(".")
    spec = _top_level(first)
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return spec.origin or (places[0] if places else None)


def load(
    kind: str, what: str, group: str, known: Iterable[str], needed: str
) -> Callable[..., object]:
    """What stands at ``package.module:Class`` or behind an entry point's name. Runs its module.

    Args:
        kind: The import path, or the entry point's name.
        what: "model" or "norm", for the messages.
        group: Of entry points.
        known: normlab's own kinds, one of which may have been meant.
        needed: What it should be, for the messages.

    Raises:
        UserError: It cannot be imported, or not be called.
    """
    points = _points(group)
    if not is_import_path(kind) and kind not in points:
        raise UserError(f"{unknown(what, kind, [*known, *points])} Or give package.module:Class.")
    path = points[kind].value if kind in points and not is_import_path(kind) else kind
    module, _, attribute = path.partition(":")
    try:
        found: Any = import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # whatever a module of the user's does when it is run
        raise UserError(
            f"{what} '{kind}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UserError(f"{what} '{kind}' is {found!r}: {needed} is needed")
    return found  # type: ignore[no-any-return]


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _is_installed(point: EntryPoint) -> bool:
    """Whether it lies where packages are installed: a folder beside a study is no installation."""
    if point.dist is None:
        return False
    place = Path(str(point.dist.locate_file(""))).resolve()
    return any(place.is_relative_to(folder) for folder in _installed_folders())


@cache
def _installed_folders() -> tuple[Path, ...]:
    paths = [*site.getsitepackages(), site.getusersitepackages()]
    paths += [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return tuple(Path(path).resolve() for path in dict.fromkeys(paths))


def _top_level(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(name, None, None) if find else None
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    return None
