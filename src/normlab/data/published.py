"""Published files: where they are looked for, and whether they are the published ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from normlab.errors import UserError


def data_folder() -> Path | None:
    """The folder that `NORMLAB_DATA` names, if it names one."""
    given = os.environ.get("NORMLAB_DATA")
    return Path(given).expanduser() if given else None


def remedy(url: str) -> str:
    """What to do about a file that is damaged or another one."""
    if data_folder():
        return (
            f"Replace it by the published file ({url}), or unset NORMLAB_DATA "
            "to have it downloaded."
        )
    return "Delete it to have it downloaded again."


def missing(kind: str, folder: Path, names: Sequence[str], url: str) -> UserError:
    """The error for a set that the folder of `NORMLAB_DATA` does not have."""
    listed = " nor ".join(names)
    return UserError(
        f"data '{kind}': {folder} holds neither {listed}. Put the published "
        f"file there ({url}), or unset NORMLAB_DATA to have it downloaded."
    )


def is_published(raw: bytes, expected: str) -> bool:
    """Whether the bytes have the hash, given as ``sha256:...`` or ``md5:...``."""
    algorithm, _, value = expected.partition(":")
    return hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest() == value


def joint_digest(hashes: Sequence[str]) -> str:
    """One digest of a set from the published hashes of its files, in their order."""
    joined = "".join(expected.rpartition(":")[2] for expected in hashes)
    return "sha256:" + hashlib.sha256(joined.encode()).hexdigest()
