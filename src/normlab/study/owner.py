"""Whose a run folder is: two study files of one name must not share one.

The folder's plan remembers its study file, by the way from the folder to the file, so that a
project may be moved or copied as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from normlab.errors import UserError
from normlab.records.plan import PlanRecord
from normlab.store import Store
from normlab.study.files import bundled
from normlab.study.spec import Study

_BUNDLED = "bundled"
_LARGEST = 1 << 20  # bytes of a study file


def way_to(study: Study, folder: Path) -> str | None:
    """How a plan's record names the study file: the way from the run folder to it.

    Args:
        study: One made in Python has no file.
        folder: The run folder.
    """
    return _way(Path(study.file), folder) if study.file else None


def check_owner(store: Store, file: str | None) -> None:
    """Refuse a folder that holds the runs of another study file.

    It is another's if that file is still there, is not this one, and says something else. A folder
    without a file's name, as of a study made in Python or of an older normlab, is anybody's.

    Args:
        store: The folder's.
        file: The study file that is meant, absolute.

    Raises:
        UserError: It is another's; the message says whose, and what to do.
    """
    whose = _stranger(store, file)
    if whose is not None:
        raise UserError(
            f"{store.folder} holds the runs of {whose}: a study's folder has its file's name. "
            f"Rename {file} or choose another folder with --runs"
        )


def _stranger(store: Store, file: str | None) -> str | None:
    """The other study file whose runs are in a folder, in words."""
    try:
        other = owner(store.plan(), store.folder)
    except UserError:  # the first run
        return None
    if file is None or other is None:
        return None
    try:
        # Whoever sends a run folder has written the path: nothing but a small file is read.
        if not other.is_file() or other.stat().st_size > _LARGEST:
            return None
        if other.samefile(file) or other.read_bytes() == Path(file).read_bytes():
            return None
    except OSError:  # one of them was renamed or removed: nobody else claims the folder
        return None
    return "the bundled study" if other in bundled().values() else f"another study file, {other}"


def owner(plan: PlanRecord, folder: Path) -> Path | None:
    """The study file of a folder's plan, if it has one."""
    if plan.file is None:
        return None
    if plan.file == _BUNDLED:
        return bundled().get(plan.name)
    return Path(os.path.normpath(folder.absolute() / plan.file))


def _way(file: Path, folder: Path) -> str:
    if file in {path.resolve() for path in bundled().values()}:
        return _BUNDLED
    try:
        return os.path.relpath(file, folder.resolve())
    except ValueError:  # on another drive
        return str(file)
