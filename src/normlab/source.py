"""The hash of normlab's own source: what tells two versions of one number apart."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path


@cache
def source_hash(*packages: str) -> str:
    """Twelve hexadecimal digits over the names and contents of Python files.

    Args:
        packages: Those of normlab whose files count; all of normlab's if none are given.
    """
    folder = Path(str(files("normlab")))
    places = [folder / name for name in packages] or [folder]
    digest = hashlib.sha256()
    for path in sorted(path for place in places for path in place.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
