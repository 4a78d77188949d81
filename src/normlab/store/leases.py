"""Whose a trial is while it trains: leases in the database, kept by a run's signs of life.

A lease holds while its run gives signs of life and is not known to be gone. It is asked for, and
looked at before every write about its trial, in the same transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from normlab.errors import UserError
from normlab.store.paths import DATABASE
from normlab.store.presence import is_present, machine

LEASE = 60.0
"""Seconds after its last sign of life for which a run keeps its trials."""
BEAT = 10.0
"""Seconds between two signs of life."""


class TakenOverError(Exception):
    """The trial is another run's by now: nothing was written."""


@dataclass(frozen=True)
class Work:
    """What is left of some trials, for a run.

    Attributes:
        free: Ids of those that no run has.
        held: Ids of those that other runs have.
    """

    free: frozenset[str]
    held: frozenset[str]


def register(connection: sqlite3.Connection, folder: Path, run: str, *, is_alone: bool) -> None:
    """Note a run, and forget those that are gone; within a transaction.

    Raises:
        UserError: A run of another machine is at work.
    """
    boot, host = machine()
    for row in _rows(connection):
        if _is_gone(row, folder) or (row["boot"] != boot and row["host"] == host and is_alone):
            # In the second case the machine was started again: nobody holds the folder.
            connection.execute("DELETE FROM drivers WHERE id = ?", (row["id"],))
        elif row["boot"] != boot:
            raise UserError(
                f"a run on the machine {str(row['host'])[:80]!r} is writing to {folder}, or was "
                f"{LEASE:.0f} seconds ago: runs of two machines cannot share a folder. Give each "
                "machine a folder of its own with --runs and join them with `normlab merge`, or "
                "train on a Ray cluster."
            )
    connection.execute(
        "INSERT INTO drivers (id, boot, host, pid, began_at, seen_at, clock) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            run,
            boot,
            host,
            os.getpid(),
            datetime.now(UTC).isoformat(timespec="seconds"),
            time.time(),
            time.monotonic(),
        ),
    )


def alive(connection: sqlite3.Connection, folder: Path) -> set[str]:
    """Ids of the runs whose leases hold."""
    return {row["id"] for row in _rows(connection) if _is_alive(row, folder)}


def _rows(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """The runs that are noted; their times are numbers, whoever wrote them."""
    return connection.execute(
        "SELECT id, boot, host, CAST(seen_at AS REAL) AS seen_at, CAST(clock AS REAL) AS clock "
        "FROM drivers"
    ).fetchall()


def _is_gone(row: sqlite3.Row, folder: Path) -> bool:
    if row["boot"] != machine()[0]:
        return not _is_alive(row, folder)
    return not is_present(folder, row["id"])


def _is_alive(row: sqlite3.Row, folder: Path) -> bool:
    if row["boot"] != machine()[0]:  # its locks may not reach here, and its clock is another
        return bool(abs(time.time() - row["seen_at"]) < LEASE)
    return is_present(folder, row["id"]) and bool(time.monotonic() - row["clock"] < LEASE)


def beat(connection: sqlite3.Connection, run: str) -> None:
    """Give a sign of life."""
    connection.execute(
        "UPDATE drivers SET seen_at = ?, clock = ? WHERE id = ?",
        (time.time(), time.monotonic(), run),
    )


def claim(
    connection: sqlite3.Connection, folder: Path, run: str, trial_ids: Iterable[str]
) -> set[str]:
    """Take those of the trials that are not finished and no run has; within a transaction."""
    beat(connection, run)
    free = work(connection, folder, run, trial_ids).free
    connection.executemany(
        "INSERT OR REPLACE INTO leases (trial_id, driver) VALUES (?, ?)",
        ((trial_id, run) for trial_id in free),
    )
    return set(free)


def work(connection: sqlite3.Connection, folder: Path, run: str, trial_ids: Iterable[str]) -> Work:
    """What is left of the trials; those that this run has are in neither part."""
    rows = connection.execute(
        "SELECT t.id, l.driver FROM trials t LEFT JOIN leases l ON l.trial_id = t.id "
        "WHERE t.id IN (SELECT value FROM json_each(?)) AND t.state IN ('pending', 'running')",
        (json.dumps(list(trial_ids)),),
    ).fetchall()
    others = {row["driver"] for row in rows} - {None, run}
    living = alive(connection, folder) if others else set()
    return Work(
        frozenset(r["id"] for r in rows if r["driver"] is None or r["driver"] in others - living),
        frozenset(r["id"] for r in rows if r["driver"] in living & others),
    )


def check(connection: sqlite3.Connection, run: str, trial_id: str) -> None:
    """Go on only if the trial is this run's; within a transaction.

    Raises:
        TakenOverError: It is not.
    """
    sql = "SELECT 1 FROM leases WHERE trial_id = ? AND driver = ?"
    if connection.execute(sql, (trial_id, run)).fetchone() is None:
        raise TakenOverError(trial_id)


def give_up(connection: sqlite3.Connection, run: str, trial_ids: Iterable[str]) -> None:
    """Let trials go that are this run's."""
    connection.executemany(
        "DELETE FROM leases WHERE trial_id = ? AND driver = ?",
        ((trial_id, run) for trial_id in trial_ids),
    )


class Heartbeat:
    """Gives signs of life from a thread, with a connection of its own, until it is stopped."""

    def __init__(self, folder: Path, run: str) -> None:
        self._path, self._run = folder / DATABASE, run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; when it returns, the connection is closed."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _go_on(self) -> None:
        while not self._ended.wait(BEAT):
            # Where it cannot be written now (a full disk), it may be at the next one.
            with contextlib.suppress(sqlite3.Error):
                uri = f"{self._path.resolve().as_uri()}?mode=rw"
                connection = sqlite3.connect(uri, uri=True, timeout=BEAT, isolation_level=None)
                with contextlib.closing(connection):
                    connection.execute("PRAGMA synchronous = NORMAL")
                    beat(connection, self._run)
