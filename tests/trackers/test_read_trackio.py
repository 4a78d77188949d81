"""trackio's databases, made by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
from tests.trackers import made

from normlab.errors import UserError
from normlab.trackers.read import read_runs
from normlab.trackers.runs import LeftOut


def test_every_project_of_a_folder_is_read(tmp_path: Path) -> None:
    made.trackio(
        tmp_path / "one.db",
        [("i1", "a", 0, {"acc": 0.5, "eval": {"f1": 1}}), ("i1", "a", 1, {"acc": 0.75})],
        [("i1", "a", {"norm": "batch", "opt": {"lr": 0.1}, "_Username": None, "_Group": "g"})],
    )
    made.trackio(tmp_path / "two.db", [("i1", "a", 0, {"acc": 0.25})])
    found = read_runs(tmp_path)
    assert found.tool == "trackio"
    one, two = found.runs
    assert (one.id, one.name, one.group, one.state) == ("one/i1", "a", "one", "complete")
    assert one.params == {"norm": "batch", "opt.lr": "0.1", "group": "g"}
    assert one.metrics["acc"].values == (0.5, 0.75)
    assert one.metrics["eval.f1"].values == (1.0,)
    assert (two.id, two.group, two.params) == ("two/i1", "two", {})


def test_runs_of_one_name_are_kept_apart_by_their_ids(tmp_path: Path) -> None:
    source = made.trackio(
        tmp_path / "p.db", [("i1", "a", 0, {"acc": 0.5}), ("i2", "a", 0, {"acc": 0.75})]
    )
    assert [run.metrics["acc"].values for run in read_runs(source).runs] == [(0.5,), (0.75,)]


def test_an_older_database_knows_runs_by_name_alone(tmp_path: Path) -> None:
    source = made.database(
        tmp_path / "p.db",
        "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER,"
        " metrics TEXT);"
        "CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT);"
        """INSERT INTO metrics VALUES (1, '', 'a', 0, '{"acc": 0.5}');"""
        """INSERT INTO configs VALUES (1, 'a', '{"seed": 3}');""",
    )
    (run,) = read_runs(source).runs
    assert (run.id, run.name, run.params) == ("p/a", "a", {"seed": "3"})


def test_words_for_numbers_are_read_and_others_left_aside(tmp_path: Path) -> None:
    source = made.trackio(
        tmp_path / "p.db",
        [
            (
                "i",
                "a",
                0,
                {"loss": "NaN", "word": "high", "image": {"_type": "trackio.image", "w": 1}},
            ),
            ("i", "a", 1, {"loss": "-Infinity", "on": True, "huge": 10**400}),
        ],
    )
    (run,) = read_runs(source).runs
    assert set(run.metrics) == {"loss"}
    assert math.isnan(run.metrics["loss"].values[0])
    assert run.metrics["loss"].values[1] == -math.inf


def test_a_damaged_run_is_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    source = made.trackio(
        tmp_path / "p.db",
        [
            ("i", "torn", 0, '{"acc": 0.'),
            ("j", "deep", 0, "[" * 100_000),
            ("k", "good", 0, {"a": 1}),
        ],
        [("l", "odd", "[1]")],
    )
    found = read_runs(source)
    assert [run.name for run in found.runs] == ["good"]
    assert found.left_out == (
        LeftOut(run="torn", reason="a row of its metrics is damaged"),
        LeftOut(run="deep", reason="a row of its metrics is damaged"),
        LeftOut(run="odd", reason="its configuration is damaged"),
    )


def test_a_damaged_project_of_a_folder_is_named(tmp_path: Path) -> None:
    made.trackio(tmp_path / "p.db", [("i", "a", 0, {"acc": 0.5})])
    content = made.trackio(tmp_path / "q.db", [("j", "b", 0, {"acc": 0.5})] * 500).read_bytes()
    (tmp_path / "q.db").write_bytes(content[:100] + b"\xff" * 9000)
    found = read_runs(tmp_path)
    assert [run.name for run in found.runs] == ["a"]
    (note,) = found.notes
    assert "q.db cannot be read: it is a damaged database" in note


def test_a_file_that_cannot_be_opened_refuses_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.trackio(tmp_path / "p.db", [("i", "a", 0, {"acc": 0.5})])
    (tmp_path / "secret").write_bytes(b"x")
    of = Path.open

    def opened(path: Path, *args: Any, **keys: Any) -> Any:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return of(path, *args, **keys)

    monkeypatch.setattr(Path, "open", opened)
    found = read_runs(tmp_path)
    assert [run.name for run in found.runs] == ["a"]
    assert found.notes == ("secret cannot be read: Permission denied",)
    with pytest.raises(UserError, match="secret cannot be read: Permission denied"):
        read_runs(tmp_path / "secret")
