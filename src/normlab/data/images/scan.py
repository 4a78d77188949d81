"""The image files of a folder, with what tells whether they changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".pbm",
    ".pgm",
    ".ppm",
)
"""What counts as an image, in small letters; files with other endings are passed over."""


class Item(NamedTuple):
    """An image's bytes: a file, or a stretch of an archive.

    Attributes:
        folders: The folders it lies in within the set: ``("train", "cat")``.
        file: Its own name.
        path: The file to open.
        offset: Where in the file it begins.
        size: How many bytes it has.
        mtime: When the file changed last, in nanoseconds.
    """

    folders: tuple[str, ...]
    file: str
    path: str
    offset: int
    size: int
    mtime: int

    @property
    def name(self) -> str:
        """Its path within the set: ``train/cat/1.jpg``."""
        return "/".join((*self.folders, self.file))


def is_image(name: str) -> bool:
    """Whether a file of this name is taken: no hidden one, and an image by its ending."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def folders(root: Path) -> list[str]:
    """The names of the folders in `root` that are not hidden, sorted."""
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def scan(root: Path, within: Iterable[str]) -> list[Item]:
    """All images below the folders `within` of `root`, each folder's by name.

    Links to files and to those folders are followed; links to folders below them are not, for
    they can go round in circles.
    """
    return [item for name in sorted(within) for item in _walk(str(root / name), (name,))]


def _walk(path: str, inside: tuple[str, ...]) -> Iterator[Item]:
    with os.scandir(path) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith("."):
                yield from _walk(entry.path, (*inside, entry.name))
        elif is_image(entry.name) and entry.is_file():
            status = entry.stat()
            yield Item(inside, entry.name, entry.path, 0, status.st_size, status.st_mtime_ns)
