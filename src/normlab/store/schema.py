"""Opening a database: its version is checked and raised before anyone reads or writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from normlab.errors import UserError
from normlab.store.migrations import MIGRATIONS

_BUSY_SECONDS = 30.0


def connect(
    path: Path, *, write: bool, migrations: Sequence[str] = MIGRATIONS
) -> sqlite3.Connection:
    """A connection to the database at `path`, at the newest schema if it may be written.

    Args:
        path: The database file; made if `write` and not there.
        write: Open for the one writer; otherwise every statement that changes something fails.
        migrations: The changes that make the schema.

    Raises:
        UserError: Not a database, written by a newer normlab, or not to be opened.
    """
    try:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = _open(path, "mode=rwc" if write else "mode=ro", write, migrations)
        except sqlite3.OperationalError:
            if write:
                raise
            # In a folder that cannot be written a reader has nowhere to put its shared memory;
            # there is no writer there either.
            connection = _open(path, "mode=ro&immutable=1", write, migrations)
    except (sqlite3.DatabaseError, OSError) as error:
        action = "written" if write else "read"
        raise UserError(f"the run folder {path.parent} cannot be {action}: {error}") from None
    return connection


def _open(path: Path, how: str, write: bool, migrations: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
    )
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
    if not write:
        if version < len(migrations):
            raise UserError(
                f"{path} has schema {version}, from an older normlab; "
                "`normlab run` of its study brings it up to date."
            )
        return
    connection.execute("BEGIN IMMEDIATE")  # a file that cannot be written says so here
    connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    for step in range(version, len(migrations)):
        # One transaction a step: a crash leaves the version before, whole.
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{migrations[step]}\nPRAGMA user_version = {step + 1};\nCOMMIT;"
        )
