"""Files that are whole or not there."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, sync, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def as_on_disk(path: Path) -> Path:
    """The path as the disk writes it, where the two write an accent in two ways.

    A Mac may keep "é" as "e" and an accent (NFD) where a keyboard gives one letter (NFC); to a
    person both are one name. A path that is there, or nowhere, comes back as it is.
    """
    try:
        if str(path).isascii() or path.exists():
            return path
        found = Path(path.anchor)
        for part in path.relative_to(path.anchor).parts:
            if not (found / part).exists():
                same = (n.name for n in found.iterdir() if _one_form(n.name) == _one_form(part))
                found /= next(same)
            else:
                found /= part
    except (OSError, StopIteration):
        return path
    return found


def _one_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)
