"""Files of finished trials, compared with what the store says of them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from normlab.errors import os_words
from normlab.records import Artifact


@dataclass(frozen=True)
class Loss:
    """A file of a finished trial that is gone or damaged.

    Attributes:
        trial_id: Whose.
        artifact: As it was stored.
        reason: What is wrong with it, in words.
    """

    trial_id: str
    artifact: Artifact
    reason: str

    def __str__(self) -> str:
        return f"{self.artifact.path} {self.reason}"


def losses_of(folder: Path, stored: Iterable[tuple[str, Artifact]], *, hashes: bool) -> list[Loss]:
    """Those of the stored files that are not there as they were written.

    Args:
        folder: The study's.
        stored: Trial ids and files.
        hashes: Read each and compare its SHA-256; otherwise its size alone is compared.
    """
    found = []
    for trial_id, artifact in stored:
        reason = _reason(f"{folder}/{artifact.path}", artifact, hashes=hashes)
        if reason:
            found.append(Loss(trial_id, artifact, reason))
    return found


def _reason(path: str, artifact: Artifact, *, hashes: bool) -> str | None:
    try:
        size = _size(path)
        if size is None:
            return "is gone"
        if size != artifact.bytes:
            return f"is damaged: {size} bytes instead of {artifact.bytes}"
        if hashes and _file_sha256(Path(path)) != artifact.sha256:
            return "is damaged: its SHA-256 is not the one stored"
    except OSError as error:
        return f"cannot be read: {os_words(OSError(error.errno, error.strerror))}"
    return None


def _size(path: str) -> int | None:
    """Bytes of a file; None where there is none. Asked once: a large study has 200,000 files."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a path for each file takes longer than asking)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    return found.st_size if stat.S_ISREG(found.st_mode) else None


_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
