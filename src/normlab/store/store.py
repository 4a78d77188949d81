"""The store of one study: its plans, trials, epochs and artifacts, in one SQLite file.

One process writes alone (a lock file says who), or several runs share the trials, each of which is
one run's at a time; any number may read meanwhile. What makes a trial finished is on the disk
before anyone is told of it; an epoch need not be, for its checkpoint is.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from normlab.errors import UserError
from normlab.files import sweep, sync_folder, write_files
from normlab.places import Place
from normlab.records import FINISHED, Artifact, EpochRecord, TrialResult
from normlab.records.plan import Declaration, PlanRecord
from normlab.store import leases
from normlab.store.copies import copied
from normlab.store.guard import guard
from normlab.store.leases import Work
from normlab.store.paths import DATABASE, artifact_path, refuse_links, staged_path
from normlab.store.plans import as_written, parse_plan
from normlab.store.presence import (
    CannotShareError,
    Shared,
    alone,
    is_held_alone,
    present,
    remove_dead,
)
from normlab.store.reading import Look, Reader
from normlab.store.schema import NoRunsError, OlderError, connect, is_current, refusal, set_durable
from normlab.store.takeover import Outcome, RefusedError, TakenOver, outcome

_EPOCH_COLUMNS = tuple(field.name for field in fields(EpochRecord))


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A trial to be: its identity and what identity is made of."""

    id: str
    recipe: Mapping[str, Any]
    seed: int
    data_digest: str
    semantics: int


class Store(Reader):
    """A study's folder, open. Use `Store.write`, `join` or `read` in a with statement."""

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, shared: Shared | None = None
    ) -> None:
        super().__init__(folder, connection)
        self._shared = shared

    @classmethod
    @contextmanager
    def write(cls, folder: Path) -> Iterator[Self]:
        """Open for writing, alone; makes the folder and brings its schema up to date.

        Raises:
            UserError: Another process is writing, or the folder cannot be written or is a link.
            MachineError: The disk is full, or reports an error.
        """
        with alone(folder), cls._open(folder) as store:
            yield store

    @classmethod
    @contextmanager
    def join(cls, folder: Path) -> Iterator[Self]:
        """Open for a run that shares the folder with others: it writes of trials that it claims.

        Nobody else comes in before `let_in`, if nobody was there. Where locks cannot be shared, a
        run is alone, as with `write`.

        Raises:
            UserError: A process has the folder alone, a run of another machine is at work, or the
                folder cannot be written or is a link.
            MachineError: The disk is full, or reports an error.
        """
        shared = Shared(folder)
        with contextlib.ExitStack() as stack:
            stack.callback(shared.leave)
            try:
                shared.enter(lambda: is_current(folder / DATABASE))
            except CannotShareError:
                store = stack.enter_context(cls.write(folder))
            else:
                store = stack.enter_context(cls._open(folder, shared))
                stack.enter_context(store._at_work(shared))
            yield store

    @classmethod
    @contextmanager
    def _open(cls, folder: Path, shared: Shared | None = None) -> Iterator[Self]:
        connection = connect(folder / DATABASE, write=True)
        try:
            guard(connection, folder)
            yield cls(folder, connection, shared)
        except sqlite3.DatabaseError as error:  # a full disk, a damaged file
            raise refusal(folder, error, write=True) from None
        finally:
            with contextlib.suppress(sqlite3.DatabaseError):  # all that counts is committed
                connection.close()

    @contextmanager
    def _at_work(self, shared: Shared) -> Iterator[None]:
        with self._transaction():
            leases.register(self._connection, self.folder, shared.id, is_alone=shared.is_alone)
        heartbeat = leases.Heartbeat(self.folder, shared.id)
        try:
            heartbeat.start()
            yield
        finally:
            heartbeat.stop()
            # Where that cannot be written, the run's file is gone all the same.
            with contextlib.suppress(sqlite3.DatabaseError):
                self.leave()

    @staticmethod
    def bring_up_to_date(folder: Path) -> None:
        """Raise a store of an older schema; nothing else of it changes.

        Raises:
            UserError: It cannot be written, or another process is writing.
        """
        if Store.is_made(folder) and not is_current(folder / DATABASE):
            with Store.write(folder):
                pass

    @classmethod
    @contextmanager
    def read(cls, folder: Path) -> Iterator[Self]:
        """Open for reading; a writer may be at work.

        Raises:
            NoRunsError: There is no store, or nothing in it yet.
            OlderError: Its schema is an older one.
            UserError: Its schema is a newer one, or it cannot be read.
        """
        if not (folder / DATABASE).is_file():
            raise NoRunsError(f"{folder} holds no runs yet")
        with cls._reading(folder, connect(folder / DATABASE, write=False)) as store:
            yield store

    @classmethod
    @contextmanager
    def read_any(cls, folder: Path) -> Iterator[Self]:
        """Open for reading; one of an older schema is copied, and the copy brought up to date.

        Raises:
            NoRunsError: There is no store, or nothing in it yet.
            UserError: Its schema is a newer one, or it cannot be read.
        """
        with contextlib.ExitStack() as stack:
            try:
                store = stack.enter_context(cls.read(folder))
            except OlderError:
                why = "an older normlab wrote it"
                copy = stack.enter_context(copied(folder / DATABASE, because=why))
                store = stack.enter_context(cls._reading(folder, connect(copy, write=True)))
            yield store

    @classmethod
    @contextmanager
    def _reading(cls, folder: Path, connection: sqlite3.Connection) -> Iterator[Self]:
        try:
            guard(connection, folder)
            yield cls(folder, connection)
        except sqlite3.DatabaseError as error:  # a damaged file, a disk that cannot be read
            raise refusal(folder, error, write=False) from None
        finally:
            connection.close()

    @staticmethod
    def is_made(folder: Path) -> bool:
        """Whether the folder holds a store, of whatever schema or state, with something in it."""
        if not (folder / DATABASE).is_file():
            return False
        try:
            connect(folder / DATABASE, write=False).close()
        except NoRunsError:
            return False
        except UserError:
            return True  # there, and whoever reads it is told what is wrong with it
        return True

    # -- runs that share the folder -----------------------------------------------------------

    @property
    def run(self) -> str | None:
        """The id of this run where it shares the folder; None where it has it alone."""
        return self._shared.id if self._shared is not None else None

    @property
    def is_alone(self) -> bool:
        """Whether nobody else can write now."""
        return self._shared is None or self._shared.is_alone

    def let_in(self) -> None:
        """Let other runs come in, where this is one that shares the folder.

        Raises:
            UserError: Someone has taken the folder for itself in this moment.
        """
        if self._shared is not None:
            self._shared.let_in()

    def claim(self, trial_ids: Sequence[str]) -> set[str]:
        """Take those of the trials that are not finished and no other run has.

        Whose run is killed, or gives no sign of life for a minute, is free. All of them where this
        process has the folder alone.
        """
        if self.run is None:
            return set(trial_ids)
        with self._transaction():
            return leases.claim(self._connection, self.folder, self.run, trial_ids)

    def work(self, trial_ids: Sequence[str]) -> Work:
        """Which of the trials are not finished: those that no run has, and those of other runs."""
        return leases.work(self._connection, self.folder, self.run or "", trial_ids)

    def held(self, trial_ids: Sequence[str]) -> frozenset[str]:
        """Which of the trials a process at work has: all of them where it is one that is alone."""
        return frozenset(trial_ids) if is_held_alone(self.folder) else self.work(trial_ids).held

    def others(self) -> set[str]:
        """Ids of the other runs that are at work in the folder."""
        return leases.alive(self._connection, self.folder) - {self.run}

    def leave(self) -> int:
        """Give up what is left of this run's trials; how many other runs are still at work.

        Of runs that leave at the same time one finds none.
        """
        if self.run is None:
            return 0
        with self._transaction():
            self._connection.execute("DELETE FROM drivers WHERE id = ?", (self.run,))
            return len(self.others())

    def joined_plan(self, plan: PlanRecord) -> bool:
        """Join the plan of other runs, if they train this one or more; whether that is so.

        Then this run goes by theirs, and records none.

        Raises:
            UserError: They train another variant of the study.
        """
        row = self._one(
            "SELECT id, plan FROM studies WHERE id = (SELECT max(plan) FROM drivers "
            "WHERE id IN (SELECT value FROM json_each(?)))",
            (json.dumps(list(self.others())),),
        )
        if row is None:
            return False
        theirs = parse_plan(row["plan"], self.folder)
        mine, its = plan.trials.keys(), theirs.trials.keys()
        if mine > its:
            return False
        if not (mine < its or (mine == its and plan.declaration == theirs.declaration)):
            raise UserError(
                f"another run trains another variant of this study in {self.folder}: wait for it, "
                "or choose another folder with --runs"
            )
        self._connection.execute("UPDATE drivers SET plan = ? WHERE id = ?", (row["id"], self.run))
        return True

    def sweep(self) -> None:
        """Remove what killed runs left half-written of trials' files, and of themselves."""
        remove_dead(self.folder)
        artifacts = self.folder / "artifacts"
        if not artifacts.is_dir() or artifacts.is_symlink():
            return
        others = present(self.folder) - {self.run}  # also those that stand still
        for folder in artifacts.iterdir():
            sweep(folder, alone=self.is_alone)
            if folder.is_dir() and not folder.is_symlink():
                staged = [p for p in folder.glob(".run-*") if p.name.split("-")[1] not in others]
                old = folder.glob("*.tmp") if self.is_alone else ()  # as normlab 0.1 named them
                for path in (*staged, *old):
                    path.unlink(missing_ok=True)

    # -- writing ---------------------------------------------------------------------------

    def record_plan(self, plan: PlanRecord, trials: Iterable[TrialRow]) -> None:
        """Make `plan` the study's current one and add those of its trials that are new."""
        with self._transaction():
            if self.joined_plan(plan):
                return
            newest = self._one("SELECT plan FROM studies ORDER BY id DESC LIMIT 1")
            if newest is None or newest["plan"] != plan.to_json():
                self.put_plan(plan, _now())
            self._connection.execute(
                "UPDATE drivers SET plan = (SELECT max(id) FROM studies) WHERE id = ?", (self.run,)
            )
            self.add_trials(trials)

    def add_look(self, declared: Declaration, trials: Iterable[str]) -> None:
        """Results were, or could be, seen: of these trials, while this was declared.

        The same look again is no new one.
        """
        entry = _look(declared, trials)
        last = self._one("SELECT declared, trials FROM looks ORDER BY id DESC LIMIT 1")
        if last is None or tuple(last) != entry:
            self._connection.execute(
                "INSERT INTO looks (looked_at, declared, trials) VALUES (?, ?, ?)", (_now(), *entry)
            )

    def start(self, trial_id: str, provenance: Place, epochs: int) -> None:
        """A worker took this trial up after that many epochs; epochs beyond them are forgotten."""
        with self._transaction(trial_id):
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

    def place(self, trial_id: str, provenance: Place) -> None:
        """More is known of the place where this trial runs: it replaces those that tell less."""
        known = dict(provenance)
        with self._transaction(trial_id):
            row = self._one("SELECT provenance FROM trials WHERE id = ?", (trial_id,))
            before = json.loads(row["provenance"]) if row and row["provenance"] else []
            others = [place for place in before if {**known, **place} != known]
            self._set(trial_id, "provenance = ?", (json.dumps([*others, known]),))

    def add_epoch(self, trial_id: str, record: EpochRecord) -> None:
        """Store an epoch's record; the same epoch again, after a resume, replaces it."""
        columns = ", ".join(_EPOCH_COLUMNS)
        marks = ", ".join("?" * (len(_EPOCH_COLUMNS) + 1))
        values = (trial_id, *(_column(getattr(record, name)) for name in _EPOCH_COLUMNS))
        stored = self._connection.execute(
            f"INSERT OR REPLACE INTO epochs (trial_id, {columns}) SELECT {marks} "  # noqa: S608
            "WHERE ? IS NULL OR EXISTS (SELECT 1 FROM leases WHERE trial_id = ? AND driver = ?)",
            (*values, self.run, trial_id, self.run),
        )
        if stored.rowcount != 1:
            raise leases.TakenOverError(trial_id)

    def finish(
        self,
        trial_id: str,
        result: TrialResult,
        artifacts: Iterable[Artifact],
        *,
        last: EpochRecord | None = None,
    ) -> None:
        """The trial ended by itself; from here on it never changes. On the disk when this returns.

        Its files have to be there before: where runs share the folder, under the names that
        `staged_path` gives them. A run that is killed after they got their own names, and before
        the row is stored, leaves files that the trial's next training replaces.

        Args:
            trial_id: The trial's.
            result: What came out.
            artifacts: Its files.
            last: Its last epoch, where that is not stored yet.

        Raises:
            TakenOverError: The trial is another run's by now; nothing changed.
        """
        artifacts = list(artifacts)
        with self._transaction(trial_id, durable=True):
            self._put_in_place(trial_id, artifacts)
            self._add_artifacts(trial_id, artifacts)
            if last is not None:
                self.add_epoch(trial_id, last)
            self._set(
                trial_id,
                "state = ?, reason = ?, result = ?, finished_at = ?",
                (result.state, result.reason, json.dumps(asdict(result)), _now()),
            )
            self._give_up([trial_id])

    def _put_in_place(self, trial_id: str, artifacts: Sequence[Artifact]) -> None:
        """Give files that a worker of this run wrote their own names, for good."""
        if self.run is None or not artifacts:
            return
        for artifact in artifacts:
            path = self.folder / artifact_path(trial_id, artifact.kind)
            (self.folder / staged_path(trial_id, artifact.kind, self.run)).replace(path)
        sync_folder(path.parent)  # one trial's files all lie there

    def _give_up(self, trial_ids: Iterable[str]) -> None:
        if self.run is not None:
            leases.give_up(self._connection, self.run, trial_ids)

    def mend(
        self,
        trial_id: str,
        provenance: Place,
        records: Iterable[EpochRecord],
        result: TrialResult,
        artifacts: Iterable[Artifact],
        *,
        whole: bool = False,
    ) -> bool:
        """A finished trial was trained again; whether its weights are equal.

        Equal weights get their lost files back and nothing else changes; others (of another
        machine) take the place of the trial as a whole. So do equal ones where `whole` is asked
        for: then the trial is from here. Only a process that has the folder alone may do this.
        """
        if self.run is not None:
            raise RuntimeError("finished trials are trained again by a run that is alone")
        (row,) = self.rows("trials", [trial_id])
        equal: bool = json.loads(row["result"])["weights_sha256"] == result.weights_sha256
        with self._transaction(durable=True):
            self._add_artifacts(trial_id, artifacts)
            if whole or not equal:
                self._connection.execute("DELETE FROM epochs WHERE trial_id = ?", (trial_id,))
                for record in records:
                    self.add_epoch(trial_id, record)
                self._connection.execute(
                    "UPDATE trials SET state = ?, reason = ?, result = ?, provenance = ?, "
                    "finished_at = ? WHERE id = ?",
                    (
                        result.state,
                        result.reason,
                        json.dumps(asdict(result)),
                        json.dumps([dict(provenance)]),
                        _now(),
                        trial_id,
                    ),
                )
        return equal

    def _add_artifacts(self, trial_id: str, artifacts: Iterable[Artifact]) -> None:
        for artifact in artifacts:
            self._connection.execute(
                "INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?)",
                (trial_id, artifact.kind, artifact.path, artifact.sha256, artifact.bytes),
            )

    def fail(self, trial_id: str, reason: str, *, last: EpochRecord | None = None) -> None:
        """The trial ended with an error; its epochs stay, with the `last` one if that is new."""
        with self._transaction(trial_id):
            if last is not None:
                self.add_epoch(trial_id, last)
            self._set(trial_id, "state = 'failed', reason = ?, finished_at = ?", (reason, _now()))
            self._give_up([trial_id])

    def release(self, trial_ids: Iterable[str]) -> None:
        """Put trials that run no more, and failed ones to be run again, back to pending.

        Those that other runs have stay as they are.
        """
        trial_ids = list(trial_ids)
        with self._transaction():
            if self.run is not None:
                self._give_up(trial_ids)
                held = self.work(trial_ids).held
                trial_ids = [trial_id for trial_id in trial_ids if trial_id not in held]
            self._connection.executemany(
                "UPDATE trials SET state = 'pending', reason = NULL "
                "WHERE id = ? AND state IN ('running', 'failed')",
                ((trial_id,) for trial_id in trial_ids),
            )

    def adopt(self, other: Path, trial_ids: Sequence[str]) -> TakenOver:
        """Take over finished trials from another study's folder; see `normlab.store.takeover`.

        A trial that is not as a run leaves it, files included, is left, and why is said. Rows come
        after the files.

        Raises:
            UserError: The other folder is a link, or its store cannot be read.
        """
        refuse_links(other)
        found = TakenOver()
        with as_written(other), Store.read(other) as source:
            outcomes: list[Outcome] = []
            for trial_id in trial_ids:
                try:
                    one = outcome(source, trial_id)
                    files = one.load() if one is not None else {}
                except RefusedError as error:
                    found.refused[trial_id] = str(error)
                    continue
                if one is not None:
                    self._write_files(files)
                    outcomes.append(one)
        with self._transaction(durable=True):
            for one in outcomes:
                self.take(one)
                found.ids.append(one.trial["id"])
        return found

    def _write_files(self, files: Mapping[str, bytes]) -> None:
        write_files({self.folder / path: content for path, content in files.items()})

    def take(self, one: Outcome) -> None:
        """Store another folder's outcome; what the trial is stays as this study planned it.

        Its files have to be there before. Within `at_once`, or a transaction of this class.
        """
        row, trial_id = one.trial, one.trial["id"]
        identity = ("id", "recipe", "seed", "data_digest", "semantics")
        self._connection.execute(
            f"INSERT OR IGNORE INTO trials ({', '.join(identity)}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            tuple(row[name] for name in identity),
        )
        self._connection.execute(
            "UPDATE trials SET state = ?, reason = ?, result = ?, provenance = ?, "
            "started_at = ?, finished_at = ? WHERE id = ?",
            (
                *(row[name] for name in ("state", "reason", "result")),
                one.provenance,
                *(row[name] for name in ("started_at", "finished_at")),
                trial_id,
            ),
        )
        self._connection.execute("DELETE FROM epochs WHERE trial_id = ?", (trial_id,))
        columns = ("trial_id", *_EPOCH_COLUMNS)
        self._connection.executemany(
            f"INSERT INTO epochs ({', '.join(columns)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * len(columns))})",
            [tuple(epoch[name] for name in columns) for epoch in one.epochs],
        )
        self._add_artifacts(trial_id, one.artifacts)

    # -- joining with another store, within `at_once` --------------------------------------

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is stored within it is stored together, on the disk when it ends, or none of it."""
        with self._transaction(durable=True):
            yield

    def take_with_files(self, one: Outcome) -> None:
        """Store another folder's outcome with its files.

        Raises:
            RefusedError: A file is not as recorded; nothing of the trial is stored.
        """
        self._write_files(one.load())
        self.take(one)

    def take_files(self, one: Outcome) -> bool:
        """Store the files of an outcome whose trial is here without them; whether there were any.

        Also those that were here, and are lost or have another size now.

        Raises:
            RefusedError: One of them is not as recorded; none is stored.
        """
        if not one.artifacts:
            return False
        trial_id = one.trial["id"]
        lost = {loss.artifact.kind for loss in self.losses([trial_id])}
        here = {artifact.kind for artifact in self.artifacts(trial_id)} - lost
        lacking = [artifact for artifact in one.artifacts if artifact.kind not in here]
        if not lacking:
            return False
        files = one.load()
        self._write_files({artifact.path: files[artifact.path] for artifact in lacking})
        self._add_artifacts(trial_id, lacking)
        return True

    def add_trials(self, trials: Iterable[TrialRow]) -> None:
        """Add those of the trials that are new, as ones to be trained."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO trials (id, recipe, seed, data_digest, semantics) "
            "VALUES (?, ?, ?, ?, ?)",
            ((t.id, json.dumps(t.recipe), t.seed, t.data_digest, t.semantics) for t in trials),
        )

    def put_plan(self, plan: PlanRecord, recorded_at: str) -> None:
        """Make `plan` the study's current one, in force since a time: UTC, ISO 8601."""
        self._connection.execute(
            "INSERT INTO studies (name, plan, recorded_at) VALUES (?, ?, ?)",
            (plan.name, plan.to_json(), recorded_at),
        )

    def put_looks(self, looks: Iterable[Look]) -> None:
        """Make these the looks at the results, in their order."""
        self._connection.execute("DELETE FROM looks")
        self._connection.executemany(
            "INSERT INTO looks (looked_at, declared, trials) VALUES (?, ?, ?)",
            ((look.at, *_look(look.declared, look.trials)) for look in looks),
        )

    # -- plumbing --------------------------------------------------------------------------

    def _set(self, trial_id: str, assignments: str, values: tuple[object, ...]) -> None:
        finished = ", ".join(f"'{state}'" for state in sorted(FINISHED))
        changed = self._connection.execute(
            f"UPDATE trials SET {assignments} WHERE id = ? AND state NOT IN ({finished})",  # noqa: S608
            (*values, trial_id),
        )
        if changed.rowcount != 1:
            raise RuntimeError(f"trial {trial_id} is not in the store or finished already")

    @contextmanager
    def _transaction(self, trial_id: str | None = None, *, durable: bool = False) -> Iterator[None]:
        """Everything within it or nothing; of a trial that must be this run's, if one is named."""
        set_durable(self._connection, durable)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if trial_id is not None and self.run is not None:
                leases.check(self._connection, self.run, trial_id)
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            set_durable(self._connection, False)
        if durable:
            # Into the database itself: a copy of that file alone has every finished trial. It may
            # wait where someone reads, and where the disk is full: the log is synced already.
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _column(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def _look(declared: Declaration, trials: Iterable[str]) -> tuple[str, str]:
    """What was declared and which trials were seen, as the columns of a look."""
    return json.dumps(declared.model_dump(mode="json"), sort_keys=True), json.dumps(sorted(trials))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
