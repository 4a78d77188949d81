"""The hash of normlab's own source: what tells two versions of one number apart."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path


@cache
def source_hash() -> str:
    """Twelve hexadecimal digits over the names and contents of the package's Python files."""
    folder = Path(str(files("normlab")))
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
