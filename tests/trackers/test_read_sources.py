"""Which tool a source is of, and what is said where it is of none."""

import itertools
import random
import sqlite3
from pathlib import Path

import pytest
from tests.trackers import made

from normlab.errors import UserError
from normlab.trackers.read import read_runs, tool_of

ROW = [("i", "a", 0, {"acc": 0.5})]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone cannot be read: No such file"):
        read_runs(tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "an empty file without runs"), (b"\x89PNG\r\n", "a file without runs")],
    ids=["empty", "foreign"],
)
def test_a_file_of_no_tool_is_refused_with_what_can_be_read(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(
        UserError, match=f"mlflow.db is {said} that can be read. What can be: an MLflow"
    ):
        read_runs(tmp_path / "mlflow.db")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is an empty folder without runs"):
        read_runs(tmp_path)


def test_a_database_of_another_program_is_named_by_its_tables(tmp_path: Path) -> None:
    source = made.database(tmp_path / "x.db", "CREATE TABLE birds (id INTEGER)")
    with pytest.raises(UserError, match="is a database with the tables birds without runs"):
        read_runs(source)


@pytest.mark.parametrize("damage", ["cut", "bytes"])
def test_a_damaged_database_is_named(tmp_path: Path, damage: str) -> None:
    source = made.trackio(tmp_path / "p.db", ROW * 2000)
    content = bytearray(source.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[4096:] = b"\xff" * (len(content) - 4096)
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"p\.db cannot be read: it is a damaged database"):
        read_runs(source)


def test_a_folder_of_two_tools_is_asked_about(tmp_path: Path) -> None:
    made.trackio(tmp_path / "p.db", ROW)
    made.mlflow(tmp_path / "mlflow.db")
    with pytest.raises(
        UserError, match="has runs of mlflow and of trackio: name the file or folder"
    ):
        tool_of(tmp_path)
    assert tool_of(tmp_path / "p.db") == "trackio"


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_is_read_while_its_tool_writes_and_nothing_is_left_beside_it(
    tmp_path: Path, journal: str
) -> None:
    source = made.trackio(tmp_path / "p.db", ROW)
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute(f"PRAGMA journal_mode = {journal}")
    insert = "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES ('i', '', 'a', 1, '{\"acc\": 1}')"
    writer.execute(insert)
    writer.execute("BEGIN")
    writer.execute(insert.replace("1, '{", "2, '{"))
    (run,) = read_runs(source).runs
    assert run.metrics["acc"].steps == (0, 1)  # what is stored, and nothing half-written
    writer.execute("COMMIT")
    writer.close()
    beside = {path.name for path in tmp_path.iterdir()}
    (run,) = read_runs(source).runs
    assert run.metrics["acc"].steps == (0, 1, 2)
    assert {path.name for path in tmp_path.iterdir()} == beside == {"p.db"}


def test_a_log_that_nobody_has_open_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    source = made.trackio(tmp_path / "p.db", ROW)
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("UPDATE metrics SET metrics = '{\"acc\": 0.75}'")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for ending in ("", "-wal"):  # as a copy of the two files has it
        content = source.with_name(f"p.db{ending}").read_bytes()
        (elsewhere / f"p.db{ending}").write_bytes(content)
    (run,) = read_runs(elsewhere / "p.db").runs
    writer.close()
    assert run.metrics["acc"].values == (0.75,)
    assert {path.name for path in elsewhere.iterdir()} == {"p.db", "p.db-wal"}


def test_a_database_that_changes_while_it_is_copied_is_named_as_the_tool_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made.trackio(tmp_path / "p.db", ROW)
    sqlite3.connect(source).execute("PRAGMA journal_mode = wal").connection.close()
    (tmp_path / "p.db-wal").write_bytes(b"x")
    looks = itertools.count()
    monkeypatch.setattr("normlab.store.copies._looks", lambda path: next(looks))
    with pytest.raises(UserError) as raised:
        read_runs(source)
    assert str(raised.value) == (
        f"{source} cannot be read: SQLite would make files beside it, and its files change too "
        "fast to be copied: something is writing; try again"
    )


@pytest.mark.parametrize("tool", ["mlflow", "trackio"])
def test_no_damage_of_a_database_ends_in_a_traceback(tmp_path: Path, tool: str) -> None:
    source = tmp_path / "p.db"
    if tool == "mlflow":
        made.mlflow(source, made.mlflow_run("a"), "INSERT INTO params VALUES ('seed', '1', 'a')")
    else:
        made.trackio(source, ROW, [("i", "a", {"seed": 1})])
    whole = source.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        # Most of a database is empty: what it says stands at the ends of its pages.
        places = [at for at, byte in enumerate(whole) if byte]
        for _ in range(draw.randrange(1, 12)):
            content[draw.choice(places)] = draw.randrange(256)
        source.write_bytes(content)
        try:
            read_runs(source)
        except UserError:  # anything else fails the test
            refused += 1
    assert refused  # some of it was damage
