"""Who is in a study's folder: locks of the operating system, which end with their process.

The file `lock` is held by all runs together, or by one process alone. Each run also holds a file of
its own, `run-<id>.lock`: whoever can lock that knows that the run is gone, killed or not.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from normlab.errors import UserError, for_user
from normlab.files import make_folder, temporary_name
from normlab.store.paths import LOCK, refuse_links

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_SHARE = fcntl is not None
"""Whether several runs may be in one folder: where locks can be shared."""

_PATIENCE = 1.0  # seconds: `is_held` of another process holds a lock for an instant
_BEGINNING = 60.0  # seconds: a run that begins is alone while it tidies up
_POLL = 0.05  # seconds
_NAME = re.compile(r"run-([0-9a-f]{16})\.lock")
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class CannotShareError(Exception):
    """The file system has no locks that can be shared."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a study's folder with nobody else in it; it is made if it is not there.

    Raises:
        UserError: Someone is in it, it is a link, or it cannot be written.
    """
    refuse_links(folder)
    with _as_words(folder):
        make_folder(folder)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=_POLL)
        except Timeout:
            raise _busy(folder) from None
    with lock:
        yield


class Shared:
    """A run's place in a folder, beside others: until `let_in` with nobody else, if it can be.

    Attributes:
        folder: The study's.
        id: The run's, 16 hexadecimal digits.
        is_alone: Whether nobody else is in the folder, nor can come in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.id, self.is_alone = folder, secrets.token_hex(8), False
        self._lock = self._own = -1

    def enter(self, is_ready: Callable[[], bool]) -> None:
        """Come in; the folder is made if it is not there.

        Args:
            is_ready: Whether the folder can be used as it is. Where it is not, only a run that is
                alone in it comes in.

        Raises:
            UserError: Someone holds it alone, it is a link, or it cannot be written.
            CannotShareError: Its locks cannot be shared.
        """
        if not CAN_SHARE:
            raise CannotShareError
        refuse_links(self.folder)
        with _as_words(self.folder):
            make_folder(self.folder)
            began = time.monotonic()
            while not self._try(is_ready):
                waited = time.monotonic() - began
                if waited > (_BEGINNING if present(self.folder) else _PATIENCE):
                    raise _busy(self.folder)
                time.sleep(_POLL)
            self._own = self._made_own()

    def _try(self, is_ready: Callable[[], bool]) -> bool:
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o644)
        try:
            is_first = _locked(self._lock, fcntl.LOCK_EX)
            if (is_first or _locked(self._lock, fcntl.LOCK_SH)) and os.fstat(self._lock).st_nlink:
                self.is_alone = is_first
                if is_first or is_ready():
                    return True
        except BaseException:
            self._release()
            raise
        self._release()
        return False

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)  # lets the lock go, too
        self._lock = -1

    def _made_own(self) -> int:
        """The run's own file, locked before anyone can see it under its name."""
        unseen = temporary_name(self.folder)
        number = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unseen.replace(self._path)
        except BaseException:
            os.close(number)
            with contextlib.suppress(OSError):
                unseen.unlink()
            raise
        return number

    @property
    def _path(self) -> Path:
        return self.folder / f"run-{self.id}.lock"

    def let_in(self) -> None:
        """Share the folder from now on.

        Raises:
            UserError: Someone has taken it for itself in this moment.
        """
        if not self.is_alone:
            return
        self.is_alone = False
        # The one lock goes before the other is there: someone may have been waiting to be alone.
        began = time.monotonic()
        while not _locked(self._lock, fcntl.LOCK_SH):
            if time.monotonic() - began > _BEGINNING:
                raise _busy(self.folder)
            time.sleep(_POLL)

    def leave(self) -> None:
        """Go; what cannot be removed, the next run removes."""
        if self._own >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._own)
            self._own = -1
        self._release()


def is_held_alone(folder: Path) -> bool:
    """Whether one process holds a folder for itself now; True where that cannot be known."""
    return not CAN_SHARE or _is_held(folder / LOCK)


def present(folder: Path) -> set[str]:
    """Ids of the runs in a folder, by their locks; those of killed ones are not among them."""
    return {found for found in _files(folder) if is_present(folder, found)}


def is_present(folder: Path, run: str) -> bool:
    """Whether the run of an id is in a folder, alive or stopped."""
    return _NAME.fullmatch(name := f"run-{run}.lock") is not None and _is_held(folder / name)


def remove_dead(folder: Path) -> None:
    """Remove the files of runs that are gone."""
    for found in _files(folder):
        if not is_present(folder, found):
            with contextlib.suppress(OSError):
                (folder / f"run-{found}.lock").unlink()


def _files(folder: Path) -> list[str]:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return [found[1] for found in map(_NAME.fullmatch, names) if found]


def _is_held(path: Path) -> bool:
    """Whether somebody holds a file's lock alone; True where that cannot be known."""
    if not CAN_SHARE:
        return path.exists()
    try:
        number = os.open(path, os.O_RDONLY | _NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        # Shared: others may look at the same time.
        return not _locked(number, fcntl.LOCK_SH)
    except (OSError, CannotShareError):
        return True
    finally:
        os.close(number)


_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def _locked(number: int, kind: int) -> bool:
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}:
            raise CannotShareError from None
        raise
    return True


@functools.cache
def machine() -> tuple[str, str]:
    """What this machine is called since it started, and its name.

    Processes of one boot share its memory, whatever container they are in: an SQLite file with a
    log is theirs to share, and nobody else's.
    """
    name = platform.node()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or name, name
    except OSError:
        return name, name


def _busy(folder: Path) -> UserError:
    return UserError(
        f"another run is writing to {folder}. Wait for it or choose another folder with --runs."
    )


@contextmanager
def _as_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = f"the run folder {folder} cannot be written: {error.strerror}"
        raise for_user(error, words) from None
