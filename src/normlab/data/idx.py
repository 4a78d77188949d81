"""IDX files, the format of MNIST: gzip or not, told apart by content and not by name.

bytes 0-1: 0    byte 2: type (8 = unsigned byte)    byte 3: number of dimensions d
then d sizes as big-endian 32-bit integers, then the values, the last dimension fastest
"""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normlab.errors import UserError

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked if it is gzip.

    Raises:
        UserError: The file cannot be read or its gzip stream is broken.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def parse_idx(raw: bytes, path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an IDX file's content.

    Args:
        raw: The unpacked content.
        path: Where it came from, for the message.
        dimensions: How many the array must have.

    Raises:
        UserError: Not IDX, not unsigned bytes, other dimensions, or cut short or too long.
    """
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise UserError(f"{path} is not an IDX file: it begins with {raw[:4].hex() or 'nothing'}")
    if raw[2] != _UNSIGNED_BYTE or raw[3] != dimensions:
        raise UserError(
            f"{path} has IDX type {raw[2]} in {raw[3]} dimensions; "
            f"type {_UNSIGNED_BYTE} (unsigned byte) in {dimensions} is needed"
        )
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(raw[4 + 4 * d : 8 + 4 * d], "big") for d in range(dimensions))
    if len(raw) < start or len(raw) - start != prod(shape):
        raise UserError(
            f"{path} is cut short or damaged: its header promises {prod(shape)} values "
            f"({'x'.join(map(str, shape))}), it holds {max(len(raw) - start, 0)}"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
