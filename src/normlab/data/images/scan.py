"""The image files of a folder, with what tells whether they changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from normlab.errors import UserError

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".jif",
    ".jfi",
    ".pjpeg",
    ".pjp",
    ".png",
    ".apng",
    ".bmp",
    ".dib",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".pbm",
    ".pgm",
    ".ppm",
    ".pnm",
)
"""What counts as an image, in small letters; files with other endings are left out and counted."""

LITTER = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)
"""What systems put beside a user's files, in small letters: passed over like hidden files."""


class Item(NamedTuple):
    """An image's bytes: a file, or a stretch of an archive.

    Attributes:
        folders: The folders it lies in within the set: ``("train", "cat")``.
        file: Its own name.
        path: The file to open.
        offset: Where in the file it begins.
        size: How many bytes it has.
        known_by: What of the file's entry changes when it is replaced or written to: device,
            number, and the times of the last writing and the last change, in nanoseconds.
    """

    folders: tuple[str, ...]
    file: str
    path: str
    offset: int
    size: int
    known_by: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """Its path within the set: ``train/cat/1.jpg``."""
        return "/".join((*self.folders, self.file))


class Found(NamedTuple):
    """The images of some folders.

    Attributes:
        items: What can be read.
        left_out: By path within the set, why a file or a link to a folder is not read.
    """

    items: list[Item]
    left_out: dict[str, str]


def known_by(status: os.stat_result) -> tuple[int, int, int, int]:
    """See `Item`."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def is_hidden(name: str) -> bool:
    """Whether a name is passed over without a word."""
    return name.startswith(".") or name.lower() in LITTER


def is_image(name: str) -> bool:
    """Whether a file of this name is taken: no hidden one, and an image by its ending."""
    return not is_hidden(name) and name.lower().endswith(SUFFIXES)


def folders(root: Path) -> list[str]:
    """The names of the folders in `root` that are not hidden, links to folders too, sorted.

    Raises:
        UserError: It cannot be read.
    """
    return [e.name for e in _entries(str(root)) if not is_hidden(e.name) and _is_folder(e)]


def loose(root: Path) -> list[str]:
    """The names of the image files right in `root`, sorted.

    Raises:
        UserError: It cannot be read.
    """
    return [e.name for e in _entries(str(root)) if is_image(e.name) and not _is_folder(e)]


def scan(root: Path, within: Iterable[tuple[str, ...]]) -> Found:
    """All images below the folders `within` of `root`, each folder's by name.

    Links are followed. A folder that is reached twice from one of `within`, as by links that go
    round in circles, is read once.

    Raises:
        UserError: A folder cannot be read.
    """
    found = Found([], {})
    for inside in sorted(within):
        found.items.extend(_walk(str(root.joinpath(*inside)), inside, set(), found.left_out))
    return found


def _walk(
    path: str, inside: tuple[str, ...], seen: set[tuple[int, int]], left_out: dict[str, str]
) -> Iterator[Item]:
    try:
        here = os.stat(path)  # noqa: PTH116  a Path for each is a tenth of the time
    except OSError as error:
        raise _unreadable(path, error) from None
    if (here.st_dev, here.st_ino) in seen:
        left_out["/".join(inside)] = "a link to a folder that is read already"
        return
    seen.add((here.st_dev, here.st_ino))
    for entry in _entries(path):
        if is_hidden(entry.name):
            continue
        name = "/".join((*inside, entry.name))
        try:
            status = entry.stat()
        except FileNotFoundError:
            left_out[name] = "a link to nothing"
            continue
        except OSError as error:
            if not entry.is_symlink():  # the folder may be listed and not entered
                raise _unreadable(path, error) from None
            left_out[name] = f"cannot be followed ({error.strerror or error})"
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(entry.path, (*inside, entry.name), seen, left_out)
        elif not stat.S_ISREG(status.st_mode):
            left_out[name] = "no file"
        elif is_image(entry.name):
            yield Item(inside, entry.name, entry.path, 0, status.st_size, known_by(status))
        else:
            ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            left_out[name] = f"ending {ending}" if ending else "no ending"


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(path, error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed
        return False


def _unreadable(path: str, error: OSError) -> UserError:
    return UserError(f"the folder {shown(path)} cannot be read: {error.strerror or error}")


def shown(name: str) -> str:
    """A file's name as text, also where it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
