"""What a database of a stranger's may take: tables alone, and so much time and memory a query.

A view can hold a query that never ends; a trigger acts when something is written.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from normlab.store.plans import not_ours

SECONDS = 60.0
"""The longest that one query may take: stores of a thousand trials take a fraction of a second."""
_LONGEST = 1 << 28  # bytes of one value, or row
_STEPS = 100_000  # of SQLite's machine between two looks at the clock
_TABLE = "(type = 'table' AND rootpage > 0)"
"""Of a row of the schema: that it is a table which is no virtual one."""


def guard(connection: sqlite3.Connection, folder: Path, *, seconds: float = SECONDS) -> None:
    """Limit what queries of this database may take, and refuse what normlab never makes.

    Raises:
        UserError: It has views, triggers or virtual tables.
    """
    limit(connection, seconds=seconds)
    found = connection.execute(
        f"SELECT type, name FROM sqlite_schema WHERE NOT ({_TABLE} OR type = 'index')"  # noqa: S608
    ).fetchone()
    if found is not None:
        kind = "virtual table" if found[0] == "table" else found[0]
        raise not_ours(folder, f"it has a {kind} ({found[1]!r})")


def tables(connection: sqlite3.Connection) -> set[str]:
    """The names, in small letters, of the tables that hold what they hold.

    Views and virtual tables are not among them: to read from those runs code of whoever made them.
    """
    found = connection.execute(f"SELECT lower(name) FROM sqlite_schema WHERE {_TABLE}")  # noqa: S608
    return {row[0] for row in found}


def limit(connection: sqlite3.Connection, *, seconds: float = SECONDS) -> None:
    """Limit the time and the memory that each query of this database may take."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    connection.execute("PRAGMA trusted_schema = OFF")
    started: list[float] = []

    def look(statement: str) -> None:
        started[:] = [time.monotonic()]

    def too_long() -> bool:
        # Not the time between two queries: only that of the one that runs.
        return bool(started) and time.monotonic() - started[0] > seconds

    connection.set_trace_callback(look)
    connection.set_progress_handler(too_long, _STEPS)
