"""Where a module's source lies, found without importing the module or any package above it.

`importlib.util.find_spec` of a submodule imports its parents, and with them whatever they do.
"""

from __future__ import annotations

import importlib
import site
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """A module and where it lies.

    Attributes:
        name: Its whole name.
        file: Its source or compiled file; None of a package without `__init__`, or of none.
        package: What the dots of its relative imports stand for.
        folders: Where its submodules lie; empty where it is no package.
    """

    name: str
    file: Path | None
    package: str
    folders: tuple[str, ...]


@cache
def find(name: str) -> Place | None:
    """The place of a module by its whole name; None if there is none on Python's path.

    What is loaded already is looked for where it came from. Remembered until `look_anew`.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    return _loaded(name) or _on_path(name)


def look_anew() -> None:
    """Forget where modules lie: files may be new."""
    importlib.invalidate_caches()
    find.cache_clear()
    folder_of.cache_clear()


@cache
def folder_of(name: str) -> Path | None:
    """The folder in which the top-level package or module of a name lies."""
    place = find(name.partition(".")[0])
    if place is None:
        return None
    if place.folders:
        return Path(place.folders[0]).resolve().parent
    return place.file.resolve().parent if place.file else None


@cache
def installed_in() -> frozenset[Path]:
    """The folders that hold Python's own modules and installed packages."""
    paths = sysconfig.get_paths()
    folders = {paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return frozenset(Path(folder).resolve() for folder in folders)


def _loaded(name: str) -> Place | None:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return None
    folders = tuple(map(str, getattr(module, "__path__", ())))
    return Place(name, Path(file), name if folders else name.rpartition(".")[0], folders)


def _on_path(name: str) -> Place | None:
    above, _, _ = name.rpartition(".")
    if not above:
        return _place(name, top_spec(name))
    parent = find(above)
    if parent is None or not parent.folders:
        return None
    try:
        found = _place(name, PathFinder.find_spec(name, list(parent.folders)))
    except KeyError:  # a folder without __init__ asks for its parent among the loaded modules
        found = None
    if found is not None:
        return found
    last = name.rpartition(".")[2]
    inside = [str(Path(folder, last)) for folder in parent.folders if Path(folder, last).is_dir()]
    return Place(name, None, name, tuple(inside)) if inside else None


def top_spec(name: str) -> ModuleSpec | None:
    """What Python's finders say of a top-level name, editable installs' among them."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None)
        except Exception:  # noqa: BLE001, S112, RUF100 (a finder of anybody's)
            continue
        if spec is not None:
            return spec
    return None


def _place(name: str, spec: ModuleSpec | None) -> Place | None:
    if spec is None:
        return None
    folders = tuple(spec.submodule_search_locations or ())
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    if file is None and not folders:
        return None  # built in
    return Place(name, file, name if folders else name.rpartition(".")[0], folders)
