"""The code of the user's own that a trial's numbers rest on, and its hash.

Of ``package.module:Class`` counts the syntax tree, without comments and docstrings, of the module
and of every module of the same package that it imports, directly or through others; so do modules
beside the package in its folder, if that folder is no place of installed packages. Python, torch,
numpy, normlab and other packages are not counted: their versions are recorded with the trial. The
source is read where it lies; nothing of it is run. Of a notebook's or script's ``__main__`` the
definitions count that the class or function uses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from normlab.errors import UserError
from normlab.own_code.finding import Place, find, folder_of, installed_in, look_anew
from normlab.own_code.live import is_run, reached
from normlab.own_code.tree import Imported, imports, look

_RECORDED = frozenset({"normlab", "torch", "numpy"})
"""Packages whose versions a trial is recorded with."""

_AS_LOADED: dict[str, tuple[object, str]] = {}
"""Of each module that was loaded when it was read: what tells one loading from another (importing
it anew gives a new one), and its hash then."""


@dataclass(frozen=True)
class OwnCode:
    """What was read: a hash for each module, definition or file by its name."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Hash of all of it: what enters a trial's identity."""
        lines = (f"{name} {digest}\n" for name, digest in sorted(self.parts.items()))
        return sha256("".join(lines).encode()).hexdigest()


def read(import_paths: Iterable[str], files: Mapping[str, Path] | None = None) -> OwnCode:
    """The code behind import paths, and files that count beside it.

    Args:
        import_paths: Each ``package.module:Class``.
        files: More files, by the names they are given under: Python as its tree, others as bytes.

    Raises:
        UserError: A file that cannot be read, or a module that was changed after Python loaded it,
            so that other code would run than was read.
    """
    look_anew()
    parts: dict[str, str] = {}
    for path in import_paths:
        module, _, attribute = path.partition(":")
        if module.partition(".")[0] not in _RECORDED:
            parts |= _behind(module, attribute)
    for name, file in (files or {}).items():
        parts[f"file {name}"] = _of_file(name, file)
    return OwnCode(parts)


def _of_file(name: str, file: Path) -> str:
    try:
        file = file.expanduser()
        if not file.is_file():  # a device, say, has no end
            there = file.exists()
            raise UserError(f"code: {name} is no file" if there else f"code: there is no {name}")
        if file.suffix == ".py":
            return look(file.read_bytes()).digest
        with file.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"code: {name} cannot be read: {error}") from None


def _behind(module: str, attribute: str) -> dict[str, str]:
    """Hashes of a module and of what it imports; of nothing where there is no such module."""
    place = None if is_run(module) else find(module)
    if place is None:
        found = reached(module, attribute)
        if found is None:
            return {}
        file = getattr(sys.modules[module], "__file__", None)
        folder = Path(file).resolve().parent if isinstance(file, str) else Path.cwd().resolve()
        imported = [each for node in found.nodes for each in imports(node, "")]
        names = _own_of(imported, folder, module)
        inside = {f"{module} ({', '.join(found.names)})": found.digest}
        return inside | _closure(names, folder, module)
    return _closure([place.name], folder_of(module), module)


def _closure(names: Iterable[str], folder: Path | None, first: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        place = find(name)
        if name in parts or place is None:
            continue
        if place.file is None:
            continue  # a folder without __init__ runs nothing
        seen = look(content(place), place.package)
        parts[name] = _checked(place, seen.digest)
        waiting += _own_of(seen.imports, folder, first)
    return parts


def _own_of(imported: Iterable[Imported], folder: Path | None, first: str) -> list[str]:
    """The user's own modules among those that are imported."""
    names = []
    for module, taken in imported:
        if _is_own(module, folder, first):
            inside = f"{module}.{taken}"
            names.append(inside if taken and find(inside) else module)
    return names


def _is_own(module: str, folder: Path | None, first: str) -> bool:
    """Whether a module is of the package of the first one, or lies beside it."""
    top = module.partition(".")[0]
    if top == first.partition(".")[0]:
        return True
    if folder is None or folder in installed_in() or top in _RECORDED:
        return False
    return top not in sys.stdlib_module_names and folder_of(top) == folder


def content(place: Place) -> bytes:
    """The bytes of a module's file, also inside a zip file on Python's path.

    Raises:
        UserError: It cannot be read.
    """
    assert place.file is not None
    try:
        return place.file.read_bytes()
    except OSError as error:
        inside = _from_archive(place.file)
        if inside is None:
            reason = error.strerror or error
            raise UserError(f"module '{place.name}' cannot be read: {reason}") from None
        return inside


def _from_archive(file: Path) -> bytes | None:
    """The bytes of a module inside a zip file on Python's path."""
    from zipfile import BadZipFile, ZipFile

    archive = next((above for above in file.parents if above.is_file()), None)
    if archive is None:
        return None
    try:
        with ZipFile(archive) as opened:
            return opened.read(file.relative_to(archive).as_posix())
    except (OSError, KeyError, BadZipFile):
        return None


def _checked(place: Place, digest: str) -> str:
    """The hash of a module's source, which is what runs: a loaded module keeps its old code."""
    module = sys.modules.get(place.name)
    if module is None:
        return digest
    loading = module.__spec__ or module
    known, before = _AS_LOADED.get(place.name, (None, ""))
    if known is loading and before != digest:
        raise UserError(
            f"module '{place.name}' was changed after Python had loaded it, so the old code would "
            "train: start Python anew, or importlib.reload it"
        )
    _AS_LOADED[place.name] = loading, digest
    return digest


__all__ = ["OwnCode", "content", "read"]
