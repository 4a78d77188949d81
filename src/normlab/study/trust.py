"""Whose word is enough to import code: a study file's is not, until the user trusts the file.

A study file may name data, a model or a norm by import path, and importing runs it. So a file that
names code is refused until `normlab trust FILE` was typed. That is remembered in the user's own
config folder: the file's path, the SHA-256 of its content and the modules that it names. A file
that changed asks again. Nothing here imports what a file names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from normlab.errors import UserError
from normlab.files import write_whole
from normlab.own import locate, module_of
from normlab.recipe import DATA, MODELS, NORMS
from normlab.recipe.data import OwnData
from normlab.recipe.models import OwnModel
from normlab.recipe.norms import OwnNorm

_NAMES_CODE: dict[str, tuple[Collection[str], str]] = {
    "data": (DATA, OwnData.group),
    "model": (MODELS, OwnModel.group),
    "norm": (NORMS, OwnNorm.group),
}
"""The recipe keys that may name code: normlab's own kinds, and the group of entry points."""


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """What the user said of one study file.

    Attributes:
        path: The file, absolute, links followed.
        sha256: Of its content.
        modules: What may be imported because it names it.
        at: When, UTC, ISO 8601.
    """

    path: str
    sha256: str
    modules: tuple[str, ...]
    at: str


class UntrustedError(UserError):
    """A study names code that nobody said may run."""


def config_folder() -> Path:
    """Where the user's decisions lie: `NORMLAB_CONFIG`, or where the platform keeps settings."""
    if given := os.environ.get("NORMLAB_CONFIG"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        home = os.environ.get("APPDATA")
        return (Path(home) if home else Path.home() / "AppData" / "Roaming") / "normlab"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "normlab"
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".config") / "normlab"


def modules_named(values: Mapping[str, object]) -> Iterator[str]:
    """The modules that recipe values by (dotted) key would have imported."""
    for key, value in values.items():
        head, _, rest = key.partition(".")
        kind = value.get("kind") if isinstance(value, Mapping) and not rest else value
        if head not in _NAMES_CODE or rest not in {"", "kind"} or not isinstance(kind, str):
            continue
        ours, group = _NAMES_CODE[head]
        module = None if kind in ours else module_of(kind, group)
        if module is not None:
            yield module


def covered(module: str, trusted: Iterable[str]) -> bool:
    """Whether a module is among the trusted ones; ``package.*`` stands for all of a package."""
    return any(
        module == entry or (entry.endswith(".*") and module.startswith(entry[:-1]))
        for entry in trusted
    )


def packages(names: Iterable[str]) -> tuple[str, ...]:
    """What trusts whole packages, as ``--trust PACKAGE`` does.

    Raises:
        UserError: Not a package's name.
    """
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(
                f"trust is '{name}': a package's or module's name is needed, such as mypackage"
            )
        found += [name, f"{name}.*"]
    return tuple(found)


def require(
    modules: Iterable[str], trusted: Sequence[str] | None, file: str | None, digest: str | None
) -> None:
    """Refuse modules that are not trusted. Imports nothing.

    Args:
        modules: What would be imported.
        trusted: What may be; None for a study that the user's own code made.
        file: The study's file.
        digest: SHA-256 of its content.

    Raises:
        UntrustedError: There is one; the message names all of them and the command to type.
    """
    if trusted is None:
        return
    left = sorted({module for module in modules if not covered(module, trusted)})
    if not left:
        return
    changed = ""
    if file is not None and digest is not None:
        before = recall(file)
        if before is not None and before.sha256 == digest:
            left = [module for module in left if module not in before.modules]
            if not left:
                return
        elif before is not None:
            changed = f"It changed since you trusted it ({before.at[:10]}). "
    named = Path(file).name if file else "the study"
    lines = [f"  {module} ({locate(module) or 'not found'})" for module in left]
    options = " ".join(f"--trust {module}" for module in left)
    raise UntrustedError(
        f"{named} names code that is not normlab's. {changed}Nothing of it was imported. "
        "To plan or run the study, these would be:\n"
        + "\n".join(lines)
        + f"\nIf you trust the file and this code, type: normlab trust {_quoted(file)}\n"
        f"or, for one command, add: {options}"
    )


def _quoted(file: str | None) -> str:
    if file is None:
        return "STUDY"
    try:
        shown = os.path.relpath(file)
    except ValueError:  # another drive
        shown = file
    return shlex.quote(file if shown.startswith("..") else shown)


def digest_of(text: str) -> str:
    """SHA-256 of a study file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def remember(file: str, digest: str, modules: Iterable[str]) -> Trusted:
    """Write down that the user trusts a file with this content.

    Raises:
        UserError: The config folder cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Trusted(path=file, sha256=digest, modules=tuple(sorted(set(modules))), at=now)
    place = _place(file)
    try:
        write_whole(place, json.dumps(asdict(entry), indent=2).encode() + b"\n")
    except OSError as error:
        raise UserError(
            f"{place} cannot be written: {error.strerror}. NORMLAB_CONFIG names another folder."
        ) from None
    return entry


def recall(file: str) -> Trusted | None:
    """What the user said of a file, if anything; a record that cannot be read says nothing."""
    try:
        values = json.loads(_place(file).read_text(encoding="utf-8"))
        entry = Trusted(**{**values, "modules": tuple(values["modules"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return entry if entry.path == file else None


def forget(file: str) -> bool:
    """Take the trust in a file back; returns whether there was any.

    Raises:
        UserError: The record cannot be removed.
    """
    try:
        _place(file).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{_place(file)} cannot be removed: {error.strerror}") from None
    return True


def _place(file: str) -> Path:
    # A file for each study: two commands at once never write the same one.
    return config_folder() / "trust" / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.json"
