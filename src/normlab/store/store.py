"""The store of one study: its plans, trials, epochs and artifacts, in one SQLite file.

One process writes at a time (a lock file says who); any number may read meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from normlab.errors import UserError
from normlab.files import write_whole
from normlab.records import FINISHED, Artifact, EpochRecord, TrialResult, TrialState
from normlab.store.schema import connect

DATABASE = "store.sqlite"
_TABLES = {"trials": "id", "epochs": "trial_id", "artifacts": "trial_id"}
"""The column that names the trial."""
_EPOCH_COLUMNS = tuple(field.name for field in fields(EpochRecord))


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A trial to be: its identity and what identity is made of."""

    id: str
    recipe: Mapping[str, Any]
    seed: int
    data_digest: str
    semantics: int


@dataclass(frozen=True)
class Look:
    """Someone saw results.

    Attributes:
        at: When, UTC, ISO 8601.
        declared: What was declared then; see `normlab.study.outline.declared`.
        trials: Ids of the finished trials.
    """

    at: str
    declared: Mapping[str, Any]
    trials: frozenset[str]


class Store:
    """A study's folder, open. Use `Store.write` or `Store.read` in a with statement."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection

    @classmethod
    @contextmanager
    def write(cls, folder: Path) -> Iterator[Self]:
        """Open for writing, alone; makes the folder and brings its schema up to date.

        Raises:
            UserError: Another process is writing, or the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"another run is writing to {folder}. Wait for it or choose another folder "
                "with --runs."
            ) from None
        except OSError as error:
            raise UserError(
                f"the run folder {folder} cannot be written: {error.strerror}"
            ) from None
        with lock:
            connection = connect(folder / DATABASE, write=True)
            try:
                yield cls(folder, connection)
            except sqlite3.DatabaseError as error:  # a full disk, a damaged file
                raise UserError(f"the run folder {folder} cannot be written: {error}") from None
            finally:
                connection.close()

    @classmethod
    @contextmanager
    def read(cls, folder: Path) -> Iterator[Self]:
        """Open for reading; a writer may be at work.

        Raises:
            UserError: There is no store, or its schema is not this version's.
        """
        if not (folder / DATABASE).is_file():
            raise UserError(f"{folder} holds no runs yet")
        connection = connect(folder / DATABASE, write=False)
        try:
            yield cls(folder, connection)
        except sqlite3.DatabaseError as error:  # a full disk, a damaged file
            raise UserError(f"the run folder {folder} cannot be read: {error}") from None
        finally:
            connection.close()

    # -- writing ---------------------------------------------------------------------------

    def record_plan(self, name: str, plan: Mapping[str, Any], trials: Iterable[TrialRow]) -> None:
        """Make `plan` the study's current one and add those of its trials that are new."""
        text = json.dumps(plan)
        with self._transaction():
            newest = self._one("SELECT plan FROM studies ORDER BY id DESC LIMIT 1")
            if newest is None or newest["plan"] != text:
                self._connection.execute(
                    "INSERT INTO studies (name, plan, recorded_at) VALUES (?, ?, ?)",
                    (name, text, _now()),
                )
            self._connection.executemany(
                "INSERT OR IGNORE INTO trials (id, recipe, seed, data_digest, semantics) "
                "VALUES (?, ?, ?, ?, ?)",
                ((t.id, json.dumps(t.recipe), t.seed, t.data_digest, t.semantics) for t in trials),
            )

    def add_look(self, declared: Mapping[str, Any], trials: Iterable[str]) -> None:
        """Results were, or could be, seen: of these trials, while this was declared.

        The same look again is no new one.
        """
        entry = (json.dumps(declared, sort_keys=True), json.dumps(sorted(trials)))
        last = self._one("SELECT declared, trials FROM looks ORDER BY id DESC LIMIT 1")
        if last is None or tuple(last) != entry:
            self._connection.execute(
                "INSERT INTO looks (looked_at, declared, trials) VALUES (?, ?, ?)", (_now(), *entry)
            )

    def start(self, trial_id: str, provenance: Mapping[str, Any], epochs: int) -> None:
        """A worker took this trial up after that many epochs; epochs beyond them are forgotten."""
        with self._transaction():
            row = self._one("SELECT provenance FROM trials WHERE id = ?", (trial_id,))
            places = json.loads(row["provenance"]) if row and row["provenance"] and epochs else []
            if provenance not in places:
                places.append(dict(provenance))
            self._set(
                trial_id,
                "state = 'running', provenance = ?, reason = NULL, "
                "started_at = coalesce(started_at, ?)",
                (json.dumps(places), _now()),
            )
            self._connection.execute(
                "DELETE FROM epochs WHERE trial_id = ? AND epoch > ?", (trial_id, epochs)
            )

    def add_epoch(self, trial_id: str, record: EpochRecord) -> None:
        """Store an epoch's record; the same epoch again, after a resume, replaces it."""
        columns = ", ".join(_EPOCH_COLUMNS)
        marks = ", ".join("?" * (len(_EPOCH_COLUMNS) + 1))
        self._connection.execute(
            f"INSERT OR REPLACE INTO epochs (trial_id, {columns}) VALUES ({marks})",  # noqa: S608
            (trial_id, *(_column(getattr(record, name)) for name in _EPOCH_COLUMNS)),
        )

    def finish(self, trial_id: str, result: TrialResult, artifacts: Iterable[Artifact]) -> None:
        """The trial ended by itself; from here on it never changes."""
        with self._transaction():
            for artifact in artifacts:
                self._connection.execute(
                    "INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?)",
                    (trial_id, artifact.kind, artifact.path, artifact.sha256, artifact.bytes),
                )
            self._set(
                trial_id,
                "state = ?, reason = ?, result = ?, finished_at = ?",
                (result.state, result.reason, json.dumps(asdict(result)), _now()),
            )

    def fail(self, trial_id: str, reason: str) -> None:
        """The trial ended with an error; its epochs stay."""
        self._set(trial_id, "state = 'failed', reason = ?, finished_at = ?", (reason, _now()))

    def release(self, trial_ids: Iterable[str]) -> None:
        """Put trials that run no more, and failed ones to be run again, back to pending."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE trials SET state = 'pending', reason = NULL "
                "WHERE id = ? AND state IN ('running', 'failed')",
                ((trial_id,) for trial_id in trial_ids),
            )

    def retrain(self, trial_ids: Iterable[str]) -> None:
        """Put finished trials back to pending, on the user's word that they be trained anew.

        What they had come to is written to `replaced/<trial>-<time>.json` before.
        """
        for trial_id in trial_ids:
            rows = {table: [dict(r) for r in self.rows(table, [trial_id])] for table in _TABLES}
            name = f"{trial_id}-{_now().replace(':', '')}.json"
            write_whole(self.folder / "replaced" / name, json.dumps(rows, indent=1).encode())
            with self._transaction():
                for table in ("epochs", "artifacts"):
                    self._connection.execute(
                        f"DELETE FROM {table} WHERE trial_id = ?",  # noqa: S608 (one of our tables)
                        (trial_id,),
                    )
                self._connection.execute(
                    "UPDATE trials SET state = 'pending', reason = NULL, result = NULL, "
                    "provenance = NULL, started_at = NULL, finished_at = NULL WHERE id = ?",
                    (trial_id,),
                )

    def places(self, trial_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Where the trials were trained by id: more than one place where one was resumed."""
        return {
            row["id"]: json.loads(row["provenance"]) if row["provenance"] else []
            for row in self.rows("trials", trial_ids)
        }

    def adopt(self, other: Path, trial_ids: Sequence[str]) -> list[str]:
        """Take over finished trials from another study's folder; returns the ids taken.

        A trial whose files are not all there as recorded is left. Rows come after the files.

        Raises:
            UserError: The other folder's store cannot be read.
        """
        with Store.read(other) as source:
            states = source.states(trial_ids)
            taken = [
                trial_id
                for trial_id in trial_ids
                if states.get(trial_id) in FINISHED and self._copy_artifacts(source, trial_id)
            ]
            with self._transaction():
                for table in _TABLES:
                    rows = source.rows(table, taken)
                    if rows:
                        marks = ", ".join("?" * len(rows[0]))
                        self._connection.executemany(
                            f"INSERT OR REPLACE INTO {table} VALUES ({marks})",  # noqa: S608
                            [tuple(row) for row in rows],
                        )
        return taken

    def _copy_artifacts(self, source: Store, trial_id: str) -> bool:
        for artifact in source.artifacts(trial_id):
            try:
                content = (source.folder / artifact.path).read_bytes()
            except OSError:
                return False
            if hashlib.sha256(content).hexdigest() != artifact.sha256:
                return False
            write_whole(self.folder / artifact.path, content)
        return True

    # -- reading ---------------------------------------------------------------------------

    def plan(self) -> dict[str, Any]:
        """The plan of the last run.

        Raises:
            UserError: No run was ever recorded.
        """
        row = self._one("SELECT plan FROM studies ORDER BY id DESC LIMIT 1")
        if row is None:
            raise UserError(f"{self.folder} holds no runs yet")
        plan: dict[str, Any] = json.loads(row["plan"])
        return plan

    def looks(self) -> list[Look]:
        """Every look at the results, the first one first."""
        return [
            Look(
                row["looked_at"], json.loads(row["declared"]), frozenset(json.loads(row["trials"]))
            )
            for row in self._all("SELECT looked_at, declared, trials FROM looks ORDER BY id")
        ]

    def states(self, trial_ids: Iterable[str]) -> dict[str, TrialState]:
        """State by id, for those of the ids that are in the store."""
        found = {row["id"]: row["state"] for row in self._all("SELECT id, state FROM trials")}
        return {trial_id: found[trial_id] for trial_id in trial_ids if trial_id in found}

    def rows(self, table: str, trial_ids: Sequence[str]) -> list[sqlite3.Row]:
        """The rows of these trials in `trials`, `epochs` or `artifacts`, in the table's order."""
        return self._all(
            f"SELECT * FROM {table} "  # noqa: S608 (one of our tables)
            f"WHERE {_TABLES[table]} IN (SELECT value FROM json_each(?))",
            (json.dumps(list(trial_ids)),),
        )

    def epochs_done(self, trial_ids: Sequence[str]) -> dict[str, int]:
        """Number of stored epochs by trial id; ids without any are left out."""
        rows = self._all(
            "SELECT trial_id, count(*) AS done FROM epochs "
            "WHERE trial_id IN (SELECT value FROM json_each(?)) GROUP BY trial_id",
            (json.dumps(list(trial_ids)),),
        )
        return {row["trial_id"]: row["done"] for row in rows}

    def artifacts(self, trial_id: str) -> list[Artifact]:
        """The files of a trial."""
        rows = self.rows("artifacts", [trial_id])
        names = [field.name for field in fields(Artifact)]
        return [Artifact(**{name: row[name] for name in names}) for row in rows]

    # -- plumbing --------------------------------------------------------------------------

    def _set(self, trial_id: str, assignments: str, values: tuple[Any, ...]) -> None:
        finished = ", ".join(f"'{state}'" for state in sorted(FINISHED))
        changed = self._connection.execute(
            f"UPDATE trials SET {assignments} WHERE id = ? AND state NOT IN ({finished})",  # noqa: S608
            (*values, trial_id),
        )
        if changed.rowcount != 1:
            raise RuntimeError(f"trial {trial_id} is not in the store or finished already")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _one(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()


def _column(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
