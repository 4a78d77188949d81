"""Code that is not normlab's: how it is named, where it lies, and how it is imported.

Data, a model or a norm are named by import path, ``package.module:Class``, or by the entry point
of an installed package. Whether a study file's word is enough to import it is for
`normlab.study.trust` to say.
"""

from __future__ import annotations

import inspect
import re
import reprlib
import site
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from normlab.errors import UserError, unknown
from normlab.own_code.finding import find, look_anew, top_spec

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
    look_anew()
    place = find(module)
    if place is not None:
        return str(place.file) if place.file else place.folders[0]
    spec = None if "." in module else top_spec(module)
    return spec.origin if spec else None  # "built-in", "frozen"


def path_of(kind: str, group: str) -> str:
    """A kind as ``package.module:Class``: as it is written, or what its entry point stands for."""
    point = None if is_import_path(kind) else _points(group).get(kind)
    return kind if point is None else point.value


def load(
    kind: str, what: str, group: str, known: Iterable[str], needed: str
) -> Callable[..., object]:
    """What stands at ``package.module:Class`` or behind an entry point's name. Runs its module.

    Args:
        kind: The import path, or the entry point's name.
        what: "data", "model" or "norm", for the messages.
        group: Of entry points.
        known: normlab's own kinds, one of which may have been meant.
        needed: What it should be, for the messages.

    Raises:
        UserError: It cannot be imported, or not be called.
    """
    points = _points(group)
    if not is_import_path(kind) and kind not in points:
        raise UserError(f"{unknown(what, kind, [*known, *points])} Or give package.module:Class.")
    module, _, attribute = path_of(kind, group).partition(":")
    try:
        found: Any = import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as error:  # whatever a module of the user's does when it is run
        raise UserError(
            f"{what} '{kind}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UserError(f"{what} '{kind}' is {reprlib.repr(found)}: {needed} is needed")
    return found  # type: ignore[no-any-return]


def parameters_of(make: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class or function by name; none where nothing is known of them."""
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):  # written in C, say
        return {}


def check_options(make: Callable[..., object], options: Iterable[str], name: str) -> None:
    """Refuse options that a class or function has no argument for.

    Args:
        make: What is called with them.
        options: Their names.
        name: Of what is made, for the message.

    Raises:
        UserError: There is one; the message has the nearest argument.
    """
    known = parameters_of(make)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for option in options:
        if known and option not in known and not takes_all:
            raise UserError(unknown(f"option of {name}", option, known))


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
