"""The format of CIFAR-10 and CIFAR-100: 32x32 color images, in an archive of a few large files.

Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, whose page has the MD5 of the
archives. There are two formats of the same images in the same order, and both are read:

- binary: records of a label byte (of CIFAR-100 two: coarse, fine) and 3,072 pixels, plane by plane;
- python: a pickled mapping with `data` (N, 3072) and `labels` or `fine_labels`. Its bytes must be
  the published ones before they are unpickled, and then nothing but an array can come of them.

A set's digest is made of the hashes of its binary files, whichever format was read.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from normlab.data.dataset import Dataset, Facts, Images, Labels
from normlab.data.download import cache_folder, download
from normlab.data.published import data_folder, is_published, joint_digest, missing, remedy
from normlab.errors import UserError
from normlab.recipe.data import Data

URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32
_LARGEST = 200_000_000  # bytes of the largest file in the archives, and some


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One format of a set.

    Attributes:
        name: The archive's file name.
        md5: Of the archive.
        folder: The folder in it.
        train: MD5 of the training files by name, in the order of their images.
        test: MD5 of the test file by name.
        binary: Whether it is the binary format.
    """

    name: str
    md5: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    binary: bool


@dataclass(frozen=True, kw_only=True)
class CifarSet:
    """A set of 32x32 color images in `archives`; the first of them is the one downloaded.

    In `NORMLAB_DATA`, or in the folder of the set's name there, either archive is found, unpacked
    or not.

    Attributes:
        name: Of the kind.
        url: The folder the archive is downloaded from.
        archives: The formats.
        label_bytes: Before each image of the binary format; the last of them is the label.
        labels_key: Of the labels in the python format.
        class_names: One name per class.
        per_class: Training and test images of every class.
    """

    name: str
    url: str = URL
    archives: tuple[Archive, ...]
    label_bytes: int
    labels_key: bytes
    class_names: tuple[str, ...]
    per_class: tuple[int, int]

    @property
    def digest(self) -> str:
        """Hash of the hashes of the binary files."""
        binary = self.archives[0]
        return joint_digest([*binary.train.values(), *binary.test.values()])

    def facts(self, _spec: Data) -> Facts:
        """What is known of the set, nothing read."""
        train, test = self.per_class
        return Facts(
            shape=(3, 32, 32),
            class_names=self.class_names,
            train_counts=(train,) * len(self.class_names),
            test_counts=(test,) * len(self.class_names),
            digest=self.digest,
        )

    def load(self, _spec: Data) -> Dataset:
        """Read the files.

        Raises:
            UserError: Files are missing, damaged or not the published ones.
        """
        place, archive = self._locate()
        files = self._files(place, archive)
        train = [self._parse(files[name], place / name, archive) for name in archive.train]
        test = [self._parse(files[name], place / name, archive) for name in archive.test]
        return Dataset(
            train_images=np.concatenate([images for images, _ in train]),
            train_labels=np.concatenate([labels for _, labels in train]),
            test_images=np.concatenate([images for images, _ in test]),
            test_labels=np.concatenate([labels for _, labels in test]),
            class_names=self.class_names,
            max_value=255,
            digest=self.digest,
        )

    def absent(self, _spec: Data) -> str | None:
        """Why the set can neither be read here nor be downloaded; None where it can."""
        if data_folder() is None:
            return None
        try:
            self._locate()
        except UserError as error:
            return str(error)
        return None

    def _locate(self) -> tuple[Path, Archive]:
        """The folder or archive to read, and which format it is."""
        given = data_folder()
        first = self.archives[0]
        if given is None:
            target = cache_folder() / self.name / first.name
            return download(f"{self.url}{first.name}", target, md5=first.md5), first
        for archive in self.archives:
            for name in (archive.folder, archive.name):
                for folder in (given / self.name, given):
                    if (folder / name).exists():
                        return folder / name, archive
        names = [name for archive in self.archives for name in (archive.folder, archive.name)]
        raise missing(self.name, given, names, f"{self.url}{first.name}")

    def _files(self, place: Path, archive: Archive) -> dict[str, bytes]:
        """The wanted files' contents by name, each the published one."""
        wanted = {**archive.train, **archive.test}
        advice = remedy(f"{self.url}{archive.name}")
        try:
            found = dict(_members(place, wanted))
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise UserError(f"{place} cannot be read: {error}. {advice}") from None
        for name, md5 in wanted.items():
            if name not in found:
                raise UserError(f"{place} lacks the file '{name}'. {advice}")
            if not is_published(found[name], f"md5:{md5}") and not (
                place.is_file() and is_published(place.read_bytes(), f"md5:{archive.md5}")
            ):
                raise UserError(
                    f"{place}: '{name}' differs from the published file of that name. {advice}"
                )
        return found

    def _parse(self, raw: bytes, place: Path, archive: Archive) -> tuple[Images, Labels]:
        if archive.binary:
            return parse_binary(raw, self.label_bytes)
        return parse_python(raw, self.labels_key, place)


def _members(place: Path, wanted: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Wanted files of a folder or an archive, which is read as a stream: nothing is unpacked."""
    if place.is_dir():
        for name in wanted:
            if (place / name).is_file():
                yield name, (place / name).read_bytes()
        return
    with tarfile.open(place, "r|*") as stream:
        for member in stream:
            name = member.name.rpartition("/")[2]
            if name in wanted and member.isreg() and member.size < _LARGEST:
                content = stream.extractfile(member)
                assert content is not None
                yield name, content.read()


def parse_binary(raw: bytes, label_bytes: int) -> tuple[Images, Labels]:
    """Images (N, 3, 32, 32) and labels of a file in the binary format."""
    records = np.frombuffer(raw, np.uint8).reshape(-1, label_bytes + _PIXELS)
    images = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    return images, records[:, label_bytes - 1].astype(np.int64)


def parse_python(raw: bytes, labels_key: bytes, place: Path) -> tuple[Images, Labels]:
    """Images (N, 3, 32, 32) and labels of a file in the python format.

    Raises:
        UserError: The pickle asks for anything but an array, or holds other things.
    """
    try:
        content = _ArraysOnly(io.BytesIO(raw), encoding="bytes").load()
        images = np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(content[labels_key], np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{place} is no batch of images: {error}") from None
    return images, labels


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain values and numpy arrays; every other class or function is refused."""

    def find_class(self, module: str, name: str) -> object:
        allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            # Its module has moved since the files were written.
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        }
        try:
            return allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
