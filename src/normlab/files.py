"""Files that are whole or not there, and that a loss of power cannot take back.

Every file that normlab writes in one piece goes through `write_files`: a temporary name in the same
folder, the content synced, renamed, the folder synced. `put_in_place` ends the same way for a file
that is too large for memory, and was written piece by piece. What a killed process left
half-written is removed by the next one that writes into the folder.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

_TOKEN = secrets.token_hex(4)  # a process that gets the number of a dead one is another process
_COUNT = itertools.count()
_NAME = re.compile(r"\.normlab-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-\d+\.tmp")
_ANYONES = 24 * 3600.0  # seconds after which nobody can still be writing a file
_NOT_HERE = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
"""Errors of file systems that cannot sync a folder, and of folders that may not be opened."""
_MOST_MADE = 10_000  # folders that are remembered: every trial has one
_made: set[Path] = set()
"""Folders whose names this process brought to the disk."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole, and for good, or as it was before.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    write_files({path: content})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files, each whole, none of them before all have their place on the disk.

    Raises:
        OSError: One cannot be written; `filename` is its path or its folder.
    """
    waiting: dict[Path, Path] = {}
    folders = dict.fromkeys(path.parent for path in files)
    made: list[Path] = []
    try:
        for folder in folders:
            if _make_folder(folder):
                made.append(folder)
            sweep(folder)
        for path, content in files.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            temporary = temporary_name(path.parent)
            waiting[temporary] = path
            with _named(path), temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for temporary, path in list(waiting.items()):
            with _named(path):
                temporary.replace(path)
            del waiting[temporary]
        for folder in folders:
            sync_folder(folder)
        for folder in made:  # at the end: a file system with a journal has it on the disk by now
            _keep_folder(folder)
    finally:
        for temporary in waiting:
            with contextlib.suppress(OSError):
                temporary.unlink()


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a file that was written under `temporary_name` its own name, for good."""
    with temporary.open("r+b") as stream:  # Windows syncs only what may be written
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def temporary_name(folder: Path) -> Path:
    """A name of a file or folder that nobody else uses, and that `sweep` knows as normlab's."""
    return folder / f".normlab-{host_mark()}-{os.getpid()}-{_TOKEN}-{next(_COUNT)}.tmp"


def make_folder(folder: Path) -> None:
    """Make a folder with those above it; a loss of power leaves them where they are.

    Raises:
        OSError: It cannot be made.
    """
    if _make_folder(folder):
        _keep_folder(folder)


def _make_folder(folder: Path) -> bool:
    """Make a folder with those above it; whether `_keep_folder` is still to be called for it.

    Those above may be others' as well, and are on the disk when this returns.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (resolve would follow links)
    if folder in _made and folder.is_dir():
        return False
    missing = list(itertools.takewhile(lambda one: not one.is_dir(), (folder, *folder.parents)))
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        if one != folder:
            sync_folder(one.parent)
    return True  # also if it was there: made by a process that was killed before it could sync?


def _keep_folder(folder: Path) -> None:
    """Bring a folder's name to the disk, in the one above it."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100
    sync_folder(folder.parent)
    if len(_made) >= _MOST_MADE:
        _made.clear()
    _made.add(folder)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (names made, changed, removed) to the disk."""
    if os.name == "nt":
        return  # its renames are written through
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return
        raise
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise OSError(error.errno, error.strerror, str(folder)) from None
    finally:
        os.close(number)


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove what killed processes left half-written in a folder.

    Args:
        folder: Where; one that is not there has nothing to sweep, a link is not followed.
        alone: Nobody else writes there now: also what another machine's process left.
    """
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            found = _NAME.fullmatch(entry.name)
            if found and (alone or _is_left(entry, *found.groups())):
                with contextlib.suppress(OSError):  # another process was faster
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()


def _is_left(entry: os.DirEntry[str], host: str, pid: str, token: str) -> bool:
    """Whether the process that wrote this temporary file is gone."""
    if host == host_mark():
        if int(pid) == os.getpid():  # this one, or a dead one that had its number
            return token != _TOKEN
        if not is_running(int(pid)):
            return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ANYONES


def is_running(pid: int) -> bool:
    """Whether a process of this machine may still be alive."""
    if os.name == "nt":
        return True  # there a signal of 0 is no question
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def host_mark() -> str:
    """A mark of this machine's name that fits into the name of a file."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the temporary file names the file that was to be written."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
