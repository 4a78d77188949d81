"""Databases of other tools: opened so that nothing is written and no code of a stranger runs.

A tool may be writing at the same time: everything is read as of one moment.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from normlab.errors import UserError
from normlab.store.copies import copied
from normlab.store.guard import limit, tables
from normlab.text import shown

_MAGIC = b"SQLite format 3\0"
_WRITER_WAITS = 30.0  # seconds
_TRIES = 3
_WAL = 2  # in a database's header: it is written through a log beside it
_UNWRITABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

Found = TypeVar("Found")


def is_database(path: Path) -> bool:
    """Whether a file is one of SQLite.

    Raises:
        OSError: It cannot be opened.
    """
    return path.is_file() and _head(path, len(_MAGIC)) == _MAGIC


def databases_of(
    source: Path, needed: Mapping[str, frozenset[str]]
) -> tuple[list[Path], list[str]]:
    """The databases of a source with these columns, by table, and notes on what cannot be read.

    They are the source itself, or those in a folder, by name; links are not followed. A note is on
    a file that may have been one of them: none stands between the others and being read.

    Raises:
        OSError: The source cannot be opened.
    """
    if not source.is_dir():
        there = is_database(source) and _has_columns(source, needed)
        return [source] if there else [], []
    found, notes = [], []
    for path in sorted(each for each in source.iterdir() if not each.is_symlink()):
        try:
            if is_database(path) and not reading(path, partial(lacking, needed=needed)):
                found.append(path)
        except OSError as error:
            notes.append(f"{shown(path.name)} cannot be read: {error.strerror or error}")
        except UserError as error:
            notes.append(str(error))
    return found, notes


def whose(path: Path) -> str:
    """What a database holds that no tool was recognised by, in words.

    Raises:
        UserError: It is damaged.
    """
    names = sorted(reading(path, tables))
    return f"a database with {'the tables ' + shown(', '.join(names)) if names else 'no tables'}"


def _has_columns(path: Path, needed: Mapping[str, frozenset[str]]) -> bool:
    """Whether a database has these columns, by table; a damaged one has none."""
    try:
        return not reading(path, partial(lacking, needed=needed))
    except UserError:
        return False


def lacking(connection: sqlite3.Connection, needed: Mapping[str, frozenset[str]]) -> list[str]:
    """The tables, and `table.column`, that are needed and not there."""
    found = []
    for table, columns in needed.items():
        there = columns_of(connection, table)
        found += [f"{table}.{each}" for each in sorted(columns - there)] if there else [table]
    return found


def columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table, in small letters; none where it is no table but a view."""
    if table not in tables(connection):
        return set()
    return {row[1].lower() for row in connection.execute(f'PRAGMA table_info("{table}")')}


def reading(path: Path, read: Callable[[sqlite3.Connection], Found]) -> Found:
    """What `read` makes of a database as of one moment.

    Args:
        path: The database.
        read: It may be called again where a tool wrote meanwhile.

    Raises:
        UserError: It is damaged, or cannot be read.
    """
    try:
        for _ in range(_TRIES):
            before = _looks(path)
            with _opened(path, unlogged=before[1] is None) as (connection, is_alone):
                connection.execute("BEGIN")
                found = read(connection)
            if is_alone or _looks(path) == before:
                return found
    # A damaged name in the schema makes a message of SQLite's that is no text.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{shown(str(path))} cannot be read: it is a damaged database, or one that takes too "
            f"long ({error})"
        ) from None
    except OSError as error:
        raise UserError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from None
    raise UserError(
        f"{shown(str(path))} cannot be read: it changes too fast: something is writing; try again"
    )


@contextlib.contextmanager
def _opened(path: Path, *, unlogged: bool) -> Iterator[tuple[sqlite3.Connection, bool]]:
    """A connection, and whether SQLite itself keeps what it sees from changing.

    To read a database with a log, SQLite makes files beside it, and leaves them there. Where no
    log is there nobody writes, and it is read without: that this stays so is for the caller to see.
    """
    if _head(path, 20)[18:19] == bytes([_WAL]):
        if unlogged:
            with contextlib.closing(_connect(path, "mode=ro&immutable=1")) as connection:
                yield connection, False
            return
        if not path.with_name(f"{path.name}-shm").exists():  # a log that nobody has open
            with _copy(path, "SQLite would make files beside it") as connection:
                yield connection, True
            return
    try:
        connection = _connect(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _UNWRITABLE:
            raise
        with _copy(path, str(error)) as connection:
            yield connection, True
        return
    with contextlib.closing(connection):
        yield connection, True


@contextlib.contextmanager
def _copy(path: Path, because: str) -> Iterator[sqlite3.Connection]:
    with (
        copied(path, because=because, what=shown(str(path)), writer="something is writing") as copy,
        contextlib.closing(_connect(copy, "mode=rw")) as connection,
    ):
        yield connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}", uri=True, timeout=_WRITER_WAITS, isolation_level=None
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        limit(connection)
        connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _looks(path: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            state = each.stat()
            found.append((state.st_size, state.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found
