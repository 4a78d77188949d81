"""The hashes of files' bytes, read on every core: threads do, for hashing lets others run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from normlab.data.images.scan import Item, shown
from normlab.errors import UserError

_BLOCK = 1 << 20
_FEW = 64  # files that one thread has read before others have started


def file_hashes(items: Sequence[Item]) -> list[str]:
    """SHA-256 of every item's bytes.

    Raises:
        UserError: A file cannot be read.
    """
    from normlab.data.images.pool import cores

    if len(items) <= _FEW:
        return [_hash(item) for item in items]
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(_hash, items, chunksize=_FEW))


def _hash(item: Item) -> str:
    digest, left = hashlib.sha256(), item.size
    try:
        with open(item.path, "rb") as stream:  # noqa: PTH123  a Path for each is a tenth of the time
            stream.seek(item.offset)
            while left and (block := stream.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{shown(item.path)} cannot be read: {reason}") from None
    return digest.hexdigest()
