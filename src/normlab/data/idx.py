"""Sets of IDX files, the format of MNIST: gzip or not, told apart by content and not by name.

bytes 0-1: 0    byte 2: type (8 = unsigned byte)    byte 3: number of dimensions d
then d sizes as big-endian 32-bit integers, then the values, the last dimension fastest
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normlab.data.dataset import Dataset, Facts
from normlab.data.download import cache_folder, download
from normlab.data.published import data_folder, is_published, joint_digest, missing, remedy
from normlab.errors import UserError
from normlab.recipe.data import Data

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
LARGEST = 1 << 28
"""Bytes of a file, unpacked: five times the largest published one."""


@dataclass(frozen=True)
class IdxFile:
    """A published file: its name, the hash of its unpacked bytes and the MD5 of the download."""

    name: str
    dimensions: int
    unpacked: str
    gzip_md5: str


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """Four files: training and test images of one size, and their labels.

    Read from the folder of that name in `NORMLAB_DATA`, or downloaded once into the user's cache.
    The bytes are compared with the published ones, so every trial that says this name used the same
    images: the set's digest is made of the hashes of the unpacked files, whether they were read
    from the published gzip, another gzip or none.

    Attributes:
        name: Of the kind and of the folder.
        url: The folder the files are downloaded from.
        files: train_images, train_labels, test_images and test_labels.
        side: Pixels of an image's side.
        class_names: One name per class.
        train_counts: Training images of each class.
        test_counts: Test images of each class.
    """

    name: str
    url: str
    files: dict[str, IdxFile]
    side: int = 28
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Hash of the four hashes."""
        return joint_digest([file.unpacked for file in self.files.values()])

    def facts(self, _spec: Data) -> Facts:
        """What is known of the set, nothing read."""
        return Facts(
            shape=(1, self.side, self.side),
            class_names=self.class_names,
            train_counts=self.train_counts,
            test_counts=self.test_counts,
            digest=self.digest,
        )

    def load(self, _spec: Data) -> Dataset:
        """Read the four files.

        Raises:
            UserError: A file is missing, damaged or not the published one.
        """
        arrays = {key: self._read(file) for key, file in self.files.items()}
        return Dataset(
            train_images=arrays["train_images"][:, None],
            train_labels=arrays["train_labels"].astype(np.int64),
            test_images=arrays["test_images"][:, None],
            test_labels=arrays["test_labels"].astype(np.int64),
            class_names=self.class_names,
            max_value=255,
            digest=self.digest,
        )

    def absent(self, _spec: Data) -> str | None:
        """Why the set can neither be read here nor be downloaded; None where it can."""
        if data_folder() is None:
            return None
        try:
            for file in self.files.values():
                self._locate(file)
        except UserError as error:
            return str(error)
        return None

    def _read(self, file: IdxFile) -> npt.NDArray[np.uint8]:
        path = self._locate(file)
        advice = remedy(f"{self.url}{file.name}.gz")
        try:
            raw = read_bytes(path)
            array = parse_idx(raw, path, dimensions=file.dimensions)
        except UserError as error:
            raise UserError(f"{error}. {advice}") from None
        if not is_published(raw, file.unpacked) and not is_published(
            path.read_bytes(), f"md5:{file.gzip_md5}"
        ):
            raise UserError(f"{path} differs from the published file of that name. {advice}")
        return array

    def _locate(self, file: IdxFile) -> Path:
        names = (file.name, f"{file.name}.gz")
        given = data_folder()
        if given is None:
            target = cache_folder() / self.name / names[1]
            return download(f"{self.url}{names[1]}", target, md5=file.gzip_md5)
        folder = given / self.name
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise missing(self.name, folder, names, f"{self.url}{names[1]}")


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked if it is gzip.

    Raises:
        UserError: The file cannot be read, its gzip stream is broken, or it holds more than any
            published file: a small gzip can unpack to a full memory.
    """
    try:
        with path.open("rb") as stream:
            is_gzip = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            if is_gzip:
                with gzip.open(stream) as unpacked:
                    raw = unpacked.read(LARGEST + 1)
            else:
                raw = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if len(raw) > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes unpacked: no published file has")
    return raw


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
