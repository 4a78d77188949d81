"""`caltech25` made from the public Caltech-101: which of its images, and where they lie in the set.

Of each of the 25 classes images 1 to 200 are taken, or all where there are fewer, under the names
they have; every fifth one (5, 10, 15, ...) is a test image. Nothing is decoded or changed. What
comes out is checked against the hash of the set that normlab knows.

The archive (Li, Andreeto, Ranzato & Perona 2022, https://doi.org/10.22002/D1.20086) is read as it
is published, a zip with a tar in it, and nothing of it is unpacked to a path of its own.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from normlab.data.download import cache_folder, download
from normlab.data.images.cache import manifest
from normlab.data.images.scan import Item
from normlab.data.images.shipped import CALTECH25, ShippedSet
from normlab.data.published import data_folder
from normlab.errors import UserError, for_user
from normlab.files import write_whole

_EVERY = 5  # so many images make one test image
_LARGEST = 1 << 24  # bytes of an image: a hundred times what one has


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a set is made.

    Attributes:
        known: The set.
        url: Where the archive is published.
        md5: Its published hash.
        inside: The folder of the class folders, and the name of the tar in the zip.
    """

    known: ShippedSet
    url: str
    md5: str
    inside: str

    def places(self) -> dict[tuple[str, str], str]:
        """For each image, by class and name, its path within the set."""
        counts = zip(
            self.known.class_names, self.known.train_counts, self.known.test_counts, strict=True
        )
        return {
            (label, f"image_{number:04d}.jpg"): self._place(label, number)
            for label, train, test in counts
            for number in range(1, train + test + 1)
        }

    def _place(self, label: str, number: int) -> str:
        split = "train" if number % _EVERY else self.known.test
        return f"{split}/{label}/image_{number:04d}.jpg"


CALTECH101 = Making(
    known=CALTECH25,
    url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    md5="3138e1922a9193bfa496528edbbc45d0",
    inside="101_ObjectCategories",
)


def build_set(making: Making, archive: Path | None, to: Path | None) -> Path:
    """Make a set from its archive.

    Args:
        making: How.
        archive: The archive as published, the tar in it, or the folder of class folders; None
            downloads it into the cache.
        to: The folder for the set; None is where normlab looks for it: what `NORMLAB_DATA` names,
            else the cache.

    Returns:
        ``<name>.tar``, which normlab knows as the set.

    Raises:
        UserError: No such archive, a damaged one, images that it lacks or that are not those of
            the set, or no room.
    """
    known = making.known
    if archive is None:
        target = cache_folder() / known.name / making.url.rpartition("/")[2]
        archive = download(making.url, target, md5=making.md5)
    places = making.places()
    contents = _contents(archive, making, places)
    if lacking := [f"{label}/{name}" for label, name in places if (label, name) not in contents]:
        raise UserError(
            f"{archive} is not the public Caltech-101: it lacks {len(lacking):,} of the "
            f"{len(places):,} images, {lacking[0]} for one"
        )
    files = {place: contents[key] for key, place in places.items()}
    if files_hash(files) != known.files:
        raise UserError(
            f"{archive} has the images of '{known.name}' by name, and other bytes in some: they "
            f"were changed since they were published ({making.url})"
        )
    target = (to or data_folder() or cache_folder()) / f"{known.name}.tar"
    try:
        write_whole(target, _tar(files))
    except OSError as error:
        raise for_user(error, f"{target} cannot be written: {error.strerror}") from None
    return target


def files_hash(files: Mapping[str, bytes]) -> str:
    """The hash of files by their paths in a set, as `ShippedSet.files` has it."""
    items = [Item(path.parent.parts, path.name, "", 0, 0, (0, 0, 0, 0))
             for path in map(PurePosixPath, files)]  # fmt: skip
    items.sort(key=lambda item: (*item.folders, item.file))
    hashes = [hashlib.sha256(files[item.name]).hexdigest() for item in items]
    return manifest(items, hashes)


def _contents(
    archive: Path, making: Making, wanted: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], bytes]:
    """The bytes of the wanted images, by class and name, as far as the archive has them."""
    found: dict[tuple[str, str], bytes] = {}
    try:
        for name, size, stream in _images(archive, making):
            key = name.parent.name, name.name
            if key not in wanted or name.parent.parent.name not in {"", making.inside}:
                continue
            if size > _LARGEST:
                raise UserError(f"{archive}: {name} has {size:,} bytes, too many for an image")
            found.setdefault(key, stream.read(size))
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error,
            lzma.LZMAError) as error:  # fmt: skip
        raise UserError(f"{archive} cannot be read: {error}") from None
    return found


def _images(archive: Path, making: Making) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Path, size and stream of each file of a folder, a tar, or a zip with a tar in it."""
    if archive.is_dir():
        yield from _in_folder(archive, making)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as whole, ExitStack() as stack:
            names = [n for n in whole.namelist() if n.endswith(f"{making.inside}.tar.gz")]
            names = [n for n in names if not n.startswith("__MACOSX")]
            if not names:
                raise UserError(f"{archive} has no {making.inside}.tar.gz")
            inner = stack.enter_context(whole.open(names[0]))
            yield from _in_tar(stack.enter_context(tarfile.open(fileobj=inner, mode="r|gz")))
    else:
        with tarfile.open(archive, "r|*") as opened:
            yield from _in_tar(opened)


def _in_tar(opened: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    for member in opened:
        if member.isreg() and not member.issparse() and (stream := opened.extractfile(member)):
            yield PurePosixPath(member.name), member.size, stream


def _in_folder(root: Path, making: Making) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    inside = root / making.inside if (root / making.inside).is_dir() else root
    for label, name in making.places():
        path = inside / label / name
        if path.is_file():
            with path.open("rb") as stream:
                yield PurePosixPath(label, name), path.stat().st_size, stream


def _tar(files: Mapping[str, bytes]) -> bytes:
    """The files as an archive that is the same wherever and whenever it is made."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return stream.getvalue()
