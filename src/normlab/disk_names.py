"""Names of files as people write them and as disks keep them."""

from __future__ import annotations

from pathlib import Path

from normlab.text import one_form


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
                same = (n.name for n in found.iterdir() if one_form(n.name) == one_form(part))
                found /= next(same)
            else:
                found /= part
    except (OSError, StopIteration):
        return path
    return found
