"""Where a study's files lie: by ids and kinds, never by what a store says.

A store may be a stranger's. A path that it names is not used; a link where a file or folder of the
study should be is refused, as what is written or deleted there would lie elsewhere.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from normlab.errors import UserError

DATABASE = "store.sqlite"
LOCK = "lock"
CONFLICTS = "conflicts"
"""The folder of trials that came with other numbers than those of the same trials here."""
ARTIFACTS = {"weights": "weights.pt", "predictions": "predictions.npz"}
"""The files that a trial leaves, by kind."""

LARGEST = 1 << 32
"""Bytes of a file that is read in one piece; a billion weights take as many."""
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_WRITTEN = (
    LOCK,
    "run-*.lock",
    *(DATABASE + ending for ending in ("", "-wal", "-shm", "-journal")),
    "checkpoints",
    "artifacts",
    "artifacts/*",
    "tables",
    "tables/*",
    "report.html",
    CONFLICTS,
    f"{CONFLICTS}/*",
)
"""What normlab writes and deletes in a study's folder."""


def is_id(text: object) -> bool:
    """Whether it can be a trial's id: letters and digits, so that it names one file."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def artifact_path(trial_id: str, kind: str) -> str:
    """A file of a trial, relative to the study's folder.

    Raises:
        UserError: Not an id, or no kind of file that trials leave.
    """
    if not is_id(trial_id) or kind not in ARTIFACTS:
        raise UserError(f"trial {trial_id!r} has no file of the kind {kind!r}")
    return f"artifacts/{trial_id}/{ARTIFACTS[kind]}"


def staged_path(trial_id: str, kind: str, run: str) -> str:
    """Where a worker of a run that shares the folder puts a file, until the trial is finished.

    So a run that lost a trial to another one writes over none of its files.

    Args:
        trial_id: The trial.
        kind: Of the file.
        run: The id of the run.

    Raises:
        UserError: Not an id, or no kind of file that trials leave.
    """
    folder, _, name = artifact_path(trial_id, kind).rpartition("/")
    return f"{folder}/.run-{run}-{name}"


def refuse_links(folder: Path) -> None:
    """Refuse to write into a study's folder that is a link, or has one where normlab writes.

    The folder above it (`--runs`) is the user's word and may be one.

    Raises:
        UserError: There is a link; the message names it.
    """
    if link := _link_in(folder):
        raise UserError(
            f"{link} is a link: normlab writes and deletes in real folders alone. "
            "Put the real one there, or choose another folder with --runs."
        )


def _link_in(folder: Path) -> Path | None:
    if _is_link(folder):
        return folder
    for pattern in _WRITTEN:
        for path in folder.glob(pattern) if "*" in pattern else [folder / pattern]:
            if _is_link(path):
                return path
    return None


def read_regular(folder: Path, relative: str, size: int) -> bytes | None:
    """A file below a folder, if it is one of that size and no link leads to it; else None.

    Its size is looked at before it is read: no more memory is taken than was promised.
    """
    path = folder
    for part in Path(relative).parts:
        path /= part
        if _is_link(path):
            return None
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size or size > LARGEST:
            return None
        with path.open("rb") as stream:
            return stream.read(size + 1)
    except OSError:
        return None


def _is_link(path: Path) -> bool:
    return (
        path.is_symlink() or path.is_junction()
        if hasattr(path, "is_junction")
        else (path.is_symlink())
    )
