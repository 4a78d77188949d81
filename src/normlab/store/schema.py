"""Opening a database: its version is checked and raised before anyone reads or writes.

A store is made, and brought up to date, in one transaction: a process that is killed meanwhile
leaves the version before, whole, or a file that holds nothing yet (schema 0).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from normlab.errors import MachineError, UserError
from normlab.files import make_folder
from normlab.store.copies import copied
from normlab.store.migrations import MIGRATIONS

_BUSY_SECONDS = 30.0
_ROOM = 32 * 1024  # bytes: SQLite makes its shared memory in pieces of that size


class NoRunsError(UserError):
    """There is no store, or it holds nothing yet."""


class OlderError(UserError):
    """An older normlab wrote the store: it is to be brought up to date before it is read."""


def connect(
    path: Path, *, write: bool, migrations: Sequence[str] = MIGRATIONS
) -> sqlite3.Connection:
    """A connection to the database at `path`, at the newest schema if it may be written.

    Args:
        path: The database file; made if `write` and not there.
        write: Open for the one writer; otherwise every statement that changes something fails.
        migrations: The changes that make the schema.

    Raises:
        OlderError: Written by an older normlab, and not opened for writing.
        NoRunsError: It holds nothing yet, and is not opened for writing.
        UserError: Not a database, written by a newer normlab, or not to be opened.
        MachineError: The disk is full or cannot be read.
    """
    try:
        if write:
            make_folder(path.parent)
            return _open(f"{_uri(path)}?mode=rwc", path, write=True, migrations=migrations)
        return _reader(path, migrations)
    except sqlite3.DatabaseError as error:
        raise refusal(path.parent, error, write=write) from None
    except OSError as error:
        action = "written" if write else "read"
        raise UserError(
            f"the run folder {path.parent} cannot be {action}: {error.strerror}"
        ) from None


def is_current(path: Path) -> bool:
    """Whether there is a database of the newest schema that can be read."""
    try:
        connect(path, write=False).close()
    except UserError:
        return False
    return True


def _reader(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    try:
        return _open(f"{_uri(path)}?mode=ro", path, write=False, migrations=migrations)
    except sqlite3.OperationalError as error:
        # Whoever may not write in the folder cannot make the shared memory that a log (-wal) is
        # read with, nor undo what a killed process left half-written (-journal). All of it is in
        # the files: a copy of them elsewhere reads it. Never is the database read without them.
        if code(error) not in _NOT_WITHOUT_WRITING:
            raise
        with copied(path, because=str(error)) as copy:
            source = _open(f"{_uri(copy)}?mode=rw", path, write=False, migrations=migrations)
            with contextlib.closing(source):
                found = sqlite3.connect(":memory:", isolation_level=None)
                source.backup(found)
        found.row_factory = sqlite3.Row
        found.execute("PRAGMA query_only = ON")
        return found


_NOT_WITHOUT_WRITING = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def _uri(path: Path) -> str:
    return path.resolve().as_uri()


def _open(uri: str, path: Path, *, write: bool, migrations: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        _prepare(connection, path, write=write, migrations=migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection, path: Path, *, write: bool, migrations: Sequence[str]
) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise UserError(
            f"{path} has schema {version}, written by a newer normlab; this one knows schemas up "
            f"to {len(migrations)}. Update normlab or choose another folder with --runs."
        )
    if not version and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise UserError(f"{path} has tables that normlab did not make: it is no store")
    if not write:
        if not version:
            raise NoRunsError(
                f"{path.parent} holds no runs yet: the run that made it was stopped before it "
                "could store anything; `normlab run` of its study begins"
            )
        if version < len(migrations):
            raise OlderError(
                f"{path} has schema {version}, from an older normlab; "
                "`normlab run` of its study brings it up to date."
            )
        return
    connection.execute("PRAGMA synchronous = FULL")
    # One transaction, which also says where a file cannot be written.
    steps = "\n".join(migrations[version:])
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{steps}\nPRAGMA user_version = {len(migrations)};\nCOMMIT;"
        if version < len(migrations)
        else "BEGIN IMMEDIATE; ROLLBACK;"
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    set_durable(connection, False)


def set_durable(connection: sqlite3.Connection, durable: bool) -> None:
    """Whether a commit waits until it is on the disk; outside of a transaction."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")


def refusal(folder: Path, error: sqlite3.DatabaseError, *, write: bool) -> UserError:
    """What SQLite says of a run folder, as words a user can act on."""
    action = "written" if write else "read"
    head = f"the run folder {folder} cannot be {action}: {error}"
    number = code(error)
    if number == sqlite3.SQLITE_IOERR and write and is_full(folder):
        number = sqlite3.SQLITE_FULL  # SQLite tells the two apart only for some of its files
    words, kind = _WORDS.get(number, ("", UserError))
    return kind(f"{head} ({words})" if words else head)


def is_full(folder: Path) -> bool:
    """Whether the file system of a folder has no room left."""
    try:
        return shutil.disk_usage(folder).free < _ROOM
    except OSError:
        return False


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 where Python's own module raised."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


_WORDS: dict[int, tuple[str, type[UserError]]] = {
    sqlite3.SQLITE_FULL: (
        "the disk is full; what was stored before is, and the same command goes on when there is "
        "room",
        MachineError,
    ),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", MachineError),
    sqlite3.SQLITE_NOMEM: ("no memory is left", MachineError),
    sqlite3.SQLITE_CANTOPEN: ("the file, or one beside it, cannot be opened", UserError),
    sqlite3.SQLITE_READONLY: ("no writing is allowed here", UserError),
    sqlite3.SQLITE_CORRUPT: ("store.sqlite is damaged", UserError),
    sqlite3.SQLITE_BUSY: ("another process has it locked", UserError),
}
