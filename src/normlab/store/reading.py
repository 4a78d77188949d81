"""What a store says of plans, trials, epochs and artifacts, to whoever reads it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normlab.places import Place
from normlab.records import FINISHED, Artifact, TrialState
from normlab.records.plan import Declaration, PlanRecord
from normlab.store.losses import Loss, losses_of
from normlab.store.paths import ARTIFACTS, artifact_path
from normlab.store.plans import not_ours, parse_plan
from normlab.store.schema import NoRunsError

_TABLES = {"trials": "id", "epochs": "trial_id", "artifacts": "trial_id"}
"""The column that names the trial."""


@dataclass(frozen=True)
class Look:
    """Someone saw results.

    Attributes:
        at: When, UTC, ISO 8601.
        declared: What was declared then.
        trials: Ids of the finished trials.
    """

    at: str
    declared: Declaration
    trials: frozenset[str]


class Reader:
    """The part of a `normlab.store.Store` that only reads."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection

    def plan(self) -> PlanRecord:
        """The plan of the last run.

        Raises:
            UserError: No run was ever recorded, or the plan is not one that normlab writes.
        """
        row = self._one("SELECT plan FROM studies ORDER BY id DESC LIMIT 1")
        if row is None:
            raise NoRunsError(f"{self.folder} holds no runs yet")
        return parse_plan(row["plan"], self.folder)

    def declared_seeds(self) -> list[tuple[str, frozenset[int]]]:
        """The seeds of every plan with the time since which it was in force, the first one first.

        Raises:
            UserError: A plan is not one that normlab writes.
        """
        rows = self._all(
            "SELECT recorded_at, json_extract(plan, '$.seeds') AS seeds FROM studies ORDER BY id"
        )
        found = [(row["recorded_at"], json.loads(row["seeds"] or "[]")) for row in rows]
        if not all(isinstance(at, str) and isinstance(seeds, list) for at, seeds in found):
            raise not_ours(self.folder, "a plan has no valid seeds")
        return [(at, frozenset(seeds)) for at, seeds in found]

    @contextmanager
    def as_it_stands(self) -> Iterator[None]:
        """Within it everything is read as of one moment, whatever a writer does meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def finished(self) -> list[str]:
        """Ids of all finished trials, also of earlier plans, in order."""
        rows = self._all(
            "SELECT id FROM trials WHERE state IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(sorted(FINISHED)),),
        )
        return [row["id"] for row in rows]

    def looks(self) -> list[Look]:
        """Every look at the results, the first one first."""
        return [
            Look(
                row["looked_at"],
                Declaration.model_validate_json(row["declared"]),
                frozenset(json.loads(row["trials"])),
            )
            for row in self._all("SELECT looked_at, declared, trials FROM looks ORDER BY id")
        ]

    def states(self, trial_ids: Iterable[str]) -> dict[str, TrialState]:
        """State by id, for those of the ids that are in the store."""
        found = {row["id"]: row["state"] for row in self._all("SELECT id, state FROM trials")}
        return {trial_id: found[trial_id] for trial_id in trial_ids if trial_id in found}

    def places(self, trial_ids: Sequence[str]) -> dict[str, list[Place]]:
        """Where the trials were trained by id: more than one place where one was resumed."""
        found: dict[str, list[Place]] = {}
        for row in self.rows("trials", trial_ids):
            places = json.loads(row["provenance"] or "[]")
            known = places if isinstance(places, list) else []
            found[row["id"]] = [place for place in known if isinstance(place, dict)]
        return found

    def losses(self, trial_ids: Sequence[str], *, hashes: bool = False) -> list[Loss]:
        """The files of finished trials that are gone or not as they were stored.

        Args:
            trial_ids: Of which trials.
            hashes: Read every file and compare its SHA-256; otherwise compare only its size.
        """
        rows = self._all(
            "SELECT a.trial_id, a.kind, a.sha256, a.bytes FROM artifacts a "
            "JOIN trials t ON t.id = a.trial_id "
            "WHERE t.state IN (SELECT value FROM json_each(?)) "
            "AND t.id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(FINISHED)), json.dumps(list(trial_ids))),
        )
        stored = [(row["trial_id"], _artifact(row)) for row in rows if row["kind"] in ARTIFACTS]
        return losses_of(self.folder, stored, hashes=hashes)

    def unfinished(self) -> set[str]:
        """Ids of all trials, also of earlier plans, that go on from their checkpoints."""
        return {
            row["id"]
            for row in self._all("SELECT id FROM trials WHERE state IN ('pending', 'running')")
        }

    def rows(self, table: str, trial_ids: Sequence[str]) -> list[sqlite3.Row]:
        """The rows of these trials in `trials`, `epochs` or `artifacts`, in the table's order."""
        return self._all(
            f"SELECT * FROM {table} "  # noqa: S608 (one of our tables)
            f"WHERE {_TABLES[table]} IN (SELECT value FROM json_each(?))",
            (json.dumps(list(trial_ids)),),
        )

    def epoch_blocks(
        self, trial_ids: Sequence[str], columns: Sequence[str], *, block: int = 100
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of `epochs` of these trials, some trials at a time: all need not fit in memory.

        Args:
            trial_ids: Of which trials.
            columns: Names of columns, or "details_of_KEY": the details where they may have that
                key, else None.
            block: Trials in each block; a block's rows are in the table's order. With more of them
                than fit in the processor's cache reading takes half as long again.
        """
        asked = ", ".join(map(_asked, columns))
        cursor = self._connection.cursor()
        cursor.row_factory = None
        for start in range(0, len(trial_ids), block):
            yield cursor.execute(
                f"SELECT {asked} FROM epochs "  # noqa: S608 (our own columns)
                "WHERE trial_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(trial_ids[start : start + block])),),
            ).fetchall()

    def epochs_done(self, trial_ids: Sequence[str]) -> dict[str, int]:
        """Number of stored epochs by trial id; ids without any are left out."""
        rows = self._all(
            "SELECT trial_id, count(*) AS done FROM epochs "
            "WHERE trial_id IN (SELECT value FROM json_each(?)) GROUP BY trial_id",
            (json.dumps(list(trial_ids)),),
        )
        return {row["trial_id"]: row["done"] for row in rows}

    def plan_number(self) -> int:
        """Which of the store's plans is that of the last run; 0 where there is none."""
        row = self._one("SELECT coalesce(max(id), 0) AS number FROM studies")
        return int(row["number"]) if row is not None else 0

    def steps(self, trial_ids: Sequence[str]) -> list[sqlite3.Row]:
        """How far the trials are, without what came of them.

        Returns:
            Rows of `id`, `state`, `reason`, `provenance`, `started_at`, `finished_at`.
        """
        return self._all(
            "SELECT id, state, reason, provenance, started_at, finished_at FROM trials "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(trial_ids)),),
        )

    def epoch_times(self, trial_ids: Sequence[str]) -> dict[str, tuple[int, float]]:
        """Number of stored epochs and seconds of their training; ids without any are left out."""
        rows = self._all(
            "SELECT trial_id, count(*) AS done, total(seconds) AS seconds FROM epochs "
            "WHERE trial_id IN (SELECT value FROM json_each(?)) GROUP BY trial_id",
            (json.dumps(list(trial_ids)),),
        )
        return {row["trial_id"]: (row["done"], row["seconds"]) for row in rows}

    def number_of_looks(self) -> int:
        """How often results were seen."""
        row = self._one("SELECT count(*) AS number FROM looks")
        return int(row["number"]) if row is not None else 0

    def artifacts(self, trial_id: str) -> list[Artifact]:
        """The files of a trial; where they lie, its id and their kinds say."""
        rows = self.rows("artifacts", [trial_id])
        return [_artifact(row) for row in rows if row["kind"] in ARTIFACTS]

    def _one(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def _all(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()


def _asked(column: str) -> str:
    key = column.removeprefix("details_of_")
    if key == column:
        return column
    # A backslash may write any character of a key.
    return f"CASE WHEN instr(details, '{key}') OR instr(details, '\\') THEN details END"


def _artifact(row: sqlite3.Row) -> Artifact:
    """A file of a trial; where it lies, the trial's id and the file's kind say, not the store."""
    path = artifact_path(row["trial_id"], row["kind"])
    return Artifact(kind=row["kind"], path=path, sha256=row["sha256"], bytes=row["bytes"])
