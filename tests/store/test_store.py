import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from tests.plans import plan_of

from normlab.errors import MachineError, UserError
from normlab.records import Artifact, EpochRecord, TrialResult
from normlab.store import DATABASE, NoRunsError, Store, TrialRow
from normlab.store.migrations import MIGRATIONS
from normlab.store.presence import is_held_alone, present
from normlab.store.schema import connect, refusal
from normlab.store.takeover import TakenOver


def record(epoch: int, test_accuracy: float = 0.5) -> EpochRecord:
    values = {field.name: 0.5 for field in fields(EpochRecord)}
    return EpochRecord(
        **{
            **values,
            "epoch": epoch,
            "test_accuracy": test_accuracy,
            "test_loss": None,
            "details": {},
        }
    )  # type: ignore[arg-type]


RESULT = TrialResult(
    state="complete",
    epochs=2,
    parameters=10,
    weights_sha256="ab",
    train_images=8,
    validation_images=1,
    test_images=4,
)


def row(trial: str) -> TrialRow:
    return TrialRow(id=trial, recipe={"lr": 0.1}, seed=0, data_digest="d", semantics=1)


PLAN = plan_of()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.write(tmp_path / "s") as made:
        made.record_plan(PLAN, [row("a"), row("b")])
        yield made


def test_a_trial_s_life(store: Store) -> None:
    assert store.states(["a", "b", "nosuch"]) == {"a": "pending", "b": "pending"}
    store.start("a", {"torch": "x"}, 0)
    store.add_epoch("a", record(1))
    store.add_epoch("a", record(2))
    assert store.states(["a"]) == {"a": "running"}
    store.finish(
        "a", RESULT, [Artifact(kind="weights", path="artifacts/a/weights.pt", sha256="cd", bytes=3)]
    )
    assert store.states(["a"]) == {"a": "complete"}
    assert store.epochs_done(["a", "b"]) == {"a": 2}
    assert [artifact.path for artifact in store.artifacts("a")] == ["artifacts/a/weights.pt"]


def test_the_same_epoch_again_replaces_it(store: Store) -> None:
    store.start("a", {}, 0)
    store.add_epoch("a", record(1, 0.1))
    store.add_epoch("a", record(1, 0.9))
    assert [r["test_accuracy"] for r in store.rows("epochs", ["a"])] == [0.9]


def test_finished_trials_are_immutable(store: Store) -> None:
    store.start("a", {}, 0)
    store.finish("a", RESULT, [])
    for change in (
        lambda: store.start("a", {}, 0),
        lambda: store.fail("a", "no"),
        lambda: store.finish("a", RESULT, []),
    ):
        with pytest.raises(RuntimeError, match="finished already"):
            change()
    store.release(["a"])
    assert store.states(["a"]) == {"a": "complete"}


def test_failed_trials_keep_their_traceback_and_can_be_released(store: Store) -> None:
    store.start("a", {}, 0)
    store.fail("a", "Traceback: boom")
    assert store.rows("trials", ["a"])[0]["reason"] == "Traceback: boom"
    store.release(["a"])
    assert store.states(["a"]) == {"a": "pending"}


def test_recording_a_plan_again_loses_nothing(store: Store) -> None:
    store.start("a", {}, 0)
    store.finish("a", RESULT, [])
    store.record_plan(plan_of(question="New?"), [row("a"), row("c")])
    assert store.states(["a", "b", "c"]) == {"a": "complete", "b": "pending", "c": "pending"}
    assert store.plan().question == "New?"


def test_one_writer_at_a_time(store: Store) -> None:
    with pytest.raises(UserError, match="another run is writing"), Store.write(store.folder):
        pass


def test_readers_read_while_the_writer_writes(store: Store) -> None:
    store.start("a", {}, 0)
    with Store.read(store.folder) as reader:
        assert reader.states(["a"]) == {"a": "running"}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.fail("a", "x")


def test_finished_trials_are_adopted_with_epochs_and_files(store: Store, tmp_path: Path) -> None:
    store.start("a", {}, 0)
    store.add_epoch("a", record(1))
    (store.folder / "artifacts" / "a").mkdir(parents=True)
    (store.folder / "artifacts/a/weights.pt").write_bytes(b"xyz")
    sha256 = hashlib.sha256(b"xyz").hexdigest()
    store.finish(
        "a",
        RESULT,
        [Artifact(kind="weights", path="artifacts/a/weights.pt", sha256=sha256, bytes=3)],
    )
    with Store.write(tmp_path / "other") as other:
        other.record_plan(plan_of(name="o"), [row("a"), row("b")])
        assert other.adopt(store.folder, ["a", "b"]) == TakenOver(["a"])
        assert other.states(["a", "b"]) == {"a": "complete", "b": "pending"}
        assert other.epochs_done(["a"]) == {"a": 1}
        assert (other.folder / "artifacts/a/weights.pt").read_bytes() == b"xyz"


@pytest.mark.parametrize("damage", ["deleted", "changed"])
def test_a_trial_whose_files_are_not_as_recorded_is_not_adopted(
    store: Store, tmp_path: Path, damage: str
) -> None:
    path = store.folder / "artifacts/a/weights.pt"
    path.parent.mkdir(parents=True)
    if damage == "changed":
        path.write_bytes(b"abc")
    store.start("a", {}, 0)
    sha256 = hashlib.sha256(b"xyz").hexdigest()
    store.finish(
        "a",
        RESULT,
        [Artifact(kind="weights", path="artifacts/a/weights.pt", sha256=sha256, bytes=3)],
    )
    with Store.write(tmp_path / "other") as other:
        other.record_plan(plan_of(name="o"), [row("a")])
        why = "artifacts/a/weights.pt is not there as recorded"
        assert other.adopt(store.folder, ["a"]) == TakenOver([], {"a": why})
        assert other.states(["a"]) == {"a": "pending"}


def test_a_trial_started_over_forgets_later_epochs_and_remembers_where_it_ran(store: Store) -> None:
    store.start("a", {"machine": 1}, 0)
    for epoch in (1, 2, 3):
        store.add_epoch("a", record(epoch))
    store.start("a", {"machine": 2}, 2)
    assert [r["epoch"] for r in store.rows("epochs", ["a"])] == [1, 2]
    (found,) = store.rows("trials", ["a"])
    assert json.loads(found["provenance"]) == [{"machine": 1}, {"machine": 2}]
    store.start("a", {"machine": 3}, 0)
    assert store.epochs_done(["a"]) == {}


def test_what_is_known_later_of_a_place_is_told_instead(store: Store) -> None:
    whole, other = {"machine": 1, "layout": "x"}, {"machine": 2, "layout": "x"}
    store.start("a", {"machine": 1}, 0)
    store.place("a", whole)
    assert store.places(["a"]) == {"a": [whole]}
    store.start("a", {"machine": 2}, 1)
    store.place("a", other)
    assert store.places(["a"]) == {"a": [whole, other]}
    store.start("a", {"machine": 1}, 2)  # back again: two places, and not three
    store.place("a", whole)
    assert store.places(["a"]) == {"a": [other, whole]}


def test_a_database_damaged_inside_is_the_user_s_to_mend(store: Store, tmp_path: Path) -> None:
    for index in range(300):
        store.record_plan(plan_of(question=f"{index}?"), [row(f"t{index}")])
    folder = tmp_path / "copy"
    folder.mkdir()
    raw = sqlite3.connect(store.folder / DATABASE)
    raw.execute(f"VACUUM INTO '{folder / DATABASE}'")
    raw.close()
    content = bytearray((folder / DATABASE).read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    (folder / DATABASE).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"), Store.read(folder) as reader:
        reader.states(["a"])


def test_reading_where_nothing_ran_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs yet"), Store.read(tmp_path / "nothing"):
        pass


def test_a_folder_that_cannot_be_made_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), Store.write(tmp_path / "file" / "s"):
        pass


def test_a_file_that_is_no_database_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("not a database, and long enough to have a header" * 10)
    with pytest.raises(UserError, match="not a database"), Store.write(tmp_path):
        pass


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Store.write(tmp_path):
        pass
    raw = sqlite3.connect(tmp_path / DATABASE)
    raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    raw.close()
    for way in (Store.write, Store.read):
        with pytest.raises(UserError, match="written by a newer normlab"), way(tmp_path):
            pass


def test_migrations_run_in_order_once(tmp_path: Path) -> None:
    first = ("CREATE TABLE t (x);",)
    second = (*first, "ALTER TABLE t ADD COLUMN y; INSERT INTO t VALUES (1, 2);")
    path = tmp_path / DATABASE
    connect(path, write=True, migrations=first).close()
    with pytest.raises(UserError, match="older normlab"):
        connect(path, write=False, migrations=second)
    for _ in range(2):
        connection = connect(path, write=True, migrations=second)
        assert [tuple(r) for r in connection.execute("SELECT * FROM t")] == [(1, 2)]
        connection.close()


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    good = ("CREATE TABLE t (x);",)
    connect(path, write=True, migrations=good).close()
    with pytest.raises(UserError, match="nosuch"):
        connect(
            path,
            write=True,
            migrations=(*good, "CREATE TABLE u (x); INSERT INTO nosuch VALUES (1);"),
        )
    connection = connect(path, write=True, migrations=good)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'u'").fetchall()
    connection.close()


def test_the_epochs_table_has_the_record_s_fields(store: Store) -> None:
    store.start("a", {}, 0)
    store.add_epoch("a", record(1))
    (found,) = store.rows("epochs", ["a"])
    assert found.keys() == ["trial_id", *(field.name for field in fields(EpochRecord))]


ASSETS = sorted((Path(__file__).parent / "assets").glob("schema-*.sqlite"))


def test_every_schema_has_its_asset() -> None:
    # A new migration needs a database of the schema before it: see CONTRIBUTING.
    assert [path.stem for path in ASSETS] == [f"schema-{n + 1}" for n in range(len(MIGRATIONS))]


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_a_store_of_every_schema_is_read(asset: Path, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(asset.read_bytes())
    with Store.write(tmp_path) as store:
        plan = store.plan()
        ids = list(plan.trials)
        assert set(store.states(ids).values()) == {"complete"}
        assert set(store.epochs_done(ids).values()) == {1}


def let_nobody_write(folder: Path) -> None:
    """As where nobody may write, a log's shared memory cannot be made, nor the log read with it."""
    path = folder / DATABASE
    path.with_name(f"{DATABASE}-shm").symlink_to("nowhere/x")
    with (
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as raw,
        pytest.raises(sqlite3.OperationalError, match="unable to open"),
    ):
        raw.execute("PRAGMA user_version").fetchone()


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_one_of_any_schema_is_read_and_left_as_it_is_where_nothing_may_be_written(
    asset: Path, tmp_path: Path
) -> None:
    path, written = tmp_path / "s" / DATABASE, tmp_path / DATABASE
    written.write_bytes(asset.read_bytes())
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(written)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE more (x)")
        for ending in ("", "-wal"):  # as a killed writer leaves them
            name = DATABASE + ending
            (path.parent / name).write_bytes((tmp_path / name).read_bytes())
    before = path.read_bytes()
    let_nobody_write(path.parent)
    with Store.read_any(path.parent) as store:
        ids = list(store.plan().trials)
        assert set(store.states(ids).values()) == {"complete"}
        assert set(store.epochs_done(ids).values()) == {1}
    assert path.read_bytes() == before


def test_a_store_killed_while_it_was_made_holds_no_runs_and_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    path.touch()
    for half in ("", "PRAGMA journal_mode = WAL"):
        raw = sqlite3.connect(path)
        raw.execute(half)
        raw.close()
        assert not Store.is_made(tmp_path)
        with (
            pytest.raises(NoRunsError, match="stopped before it could store"),
            Store.read(tmp_path),
        ):
            pass
    with Store.write(tmp_path) as store:
        store.record_plan(PLAN, [row("a")])
    assert Store.is_made(tmp_path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / DATABASE)
    raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    before = (tmp_path / DATABASE).read_bytes()
    for way in (Store.write, Store.read):
        with pytest.raises(UserError, match="did not make"), way(tmp_path):
            pass
    assert (tmp_path / DATABASE).read_bytes() == before


def test_all_steps_of_a_schema_are_one_transaction(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    steps = ("CREATE TABLE t (x);", "CREATE TABLE u (x); INSERT INTO nosuch VALUES (1);")
    with pytest.raises(UserError, match="nosuch"):
        connect(path, write=True, migrations=steps)
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    raw.close()


def test_a_copy_of_the_database_alone_has_every_finished_trial(
    store: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"
    for trial in ("a", "b"):
        store.start(trial, {}, 0)
        store.finish(trial, RESULT, [], last=record(1))
        copy.write_bytes((store.folder / DATABASE).read_bytes())
        raw = sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)
        assert raw.execute("SELECT state FROM trials WHERE id = ?", trial).fetchone() == (
            "complete",
        )
        assert raw.execute("SELECT count(*) FROM epochs WHERE trial_id = ?", trial).fetchone()[0]
        raw.close()


def as_a_reader_sees(folder: Path) -> dict[str, str]:
    with Store.read(folder) as reader:
        return dict(reader.states(["a", "b"]))


@pytest.fixture
def killed(store: Store, tmp_path: Path) -> Path:
    """A folder that a killed writer left: what it stored last stands in the log alone."""
    store.start("a", {}, 0)
    folder = tmp_path / "killed"
    folder.mkdir()
    for ending in ("", "-wal"):
        name = DATABASE + ending
        (folder / name).write_bytes((store.folder / name).read_bytes())
    raw = sqlite3.connect(f"{(folder / DATABASE).as_uri()}?mode=ro&immutable=1", uri=True)
    assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0 or (
        raw.execute("SELECT state FROM trials").fetchall() != [("running",), ("pending",)]
    ), "the database alone is older"
    raw.close()
    return folder


def test_a_reader_that_may_not_write_reads_the_log_too(killed: Path) -> None:
    let_nobody_write(killed)
    assert as_a_reader_sees(killed) == {"a": "running", "b": "pending"}


def test_a_log_that_cannot_be_read_is_named_and_nothing_is_read_without_it(killed: Path) -> None:
    (killed / f"{DATABASE}-wal").unlink()
    (killed / f"{DATABASE}-wal").mkdir()
    with pytest.raises(UserError, match=r"store\.sqlite-wal \(what was stored last stands in it\)"):
        as_a_reader_sees(killed)


def test_a_killed_writer_s_journal_is_undone_for_a_reader(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "hot"
    folder.mkdir()
    path = folder / DATABASE
    raw = sqlite3.connect(store.folder / DATABASE)
    raw.execute(f"VACUUM INTO '{path}'")
    raw.close()
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = DELETE")
    raw.execute("PRAGMA cache_size = 1")
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("UPDATE trials SET state = 'failed'")
    raw.executemany(
        "INSERT INTO looks (looked_at, declared, trials) VALUES ('x', ?, '')", [("y" * 3000,)] * 50
    )
    left = {name: (folder / name).read_bytes() for name in (DATABASE, f"{DATABASE}-journal")}
    raw.execute("ROLLBACK")
    raw.close()
    for name, content in left.items():
        (folder / name).write_bytes(content)
    assert as_a_reader_sees(folder) == {"a": "pending", "b": "pending"}
    assert {name: (folder / name).read_bytes() for name in left} == left, "a reader changes nothing"


def test_a_read_error_of_the_disk_is_told_from_damage(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR | (1 << 8)
    assert isinstance(refusal(tmp_path, error, write=False), MachineError)
    assert "the disk reports an error" in str(refusal(tmp_path, error, write=False))
    damaged = sqlite3.DatabaseError("database disk image is malformed")
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    assert not isinstance(refusal(tmp_path, damaged, write=False), MachineError)


def test_a_finished_trial_stands_in_the_database_itself_and_its_commit_was_synced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    whole = Store._set

    def watched(self: Store, *arguments: object) -> None:
        levels.append(self._connection.execute("PRAGMA synchronous").fetchone()[0])
        whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "_set", watched)
    store.start("a", {}, 0)
    store.finish("a", RESULT, [])
    assert levels == [1, 2]  # NORMAL, FULL
    raw = sqlite3.connect(f"{(store.folder / DATABASE).as_uri()}?mode=ro&immutable=1", uri=True)
    assert raw.execute("SELECT state FROM trials WHERE id = 'a'").fetchone() == ("complete",)
    raw.close()


def is_being_written(folder: Path) -> bool:
    return is_held_alone(folder) or bool(present(folder))


def test_whether_a_run_is_writing_is_known_from_outside(store: Store, tmp_path: Path) -> None:
    assert is_being_written(store.folder)
    assert not is_being_written(tmp_path / "nothing")
    with Store.write(tmp_path / "t"):
        pass
    assert not is_being_written(tmp_path / "t")
