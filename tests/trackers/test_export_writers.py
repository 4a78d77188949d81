"""What writers of exports do, with stand-ins for the tools' packages."""

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.trackers.to_export import fill

from normlab.errors import MachineError, UserError
from normlab.trackers.write import mlflow, trackio, wandb
from normlab.trackers.write.exported import StudyRuns, to_export
from normlab.trackers.write.result import Shortener, by_own, in_shell


@pytest.fixture
def study(tmp_path: Path) -> StudyRuns:
    """A study with one trial."""
    return to_export(fill(tmp_path / "runs" / "paper", [("batch", 0)]))


def named(study: StudyRuns, *marks: tuple[str, str]) -> StudyRuns:
    """The study with trials of these ids and marks instead."""
    (arm,) = study.arms
    (trial,) = arm.trials
    trials = [replace(trial, id=one, mark=mark) for one, mark in marks]
    return replace(study, arms=[replace(arm, trials=trials)])


class Storage:
    """Stands in for trackio's `SQLiteStorage`: runs by id."""

    def __init__(self, folder: Path, runs: dict[str, str]) -> None:
        self.path, self.runs = folder / "paper.db", runs
        self.path.touch()

    def validate_project_name(self, name: str) -> None:
        pass

    def get_project_db_path(self, name: str) -> Path:
        return self.path

    def get_run_records(self, project: str) -> list[dict[str, str]]:
        return [{"id": run, "name": name} for run, name in self.runs.items()]

    def bulk_log(self, project: str, name: str, *_: Any, run_id: str, **__: Any) -> None:
        self.runs[run_id] = name

    def delete_run(self, project: str, name: str, *, run_id: str) -> None:
        assert self.runs.pop(run_id) == name


OLD = {"ab-11111111", "ab-cd-22222222", "abc-33333333", "e-f-"}
"""Marks of runs that are there: one with another id that begins alike, one without a hash."""
NEW = [("ab", "ab-99999999"), ("ab-cd", "ab-cd-22222222"), ("e-f", "e-f-88888888")]
LEFT = {"ab-99999999", "ab-cd-22222222", "abc-33333333", "e-f-88888888"}


def test_runs_of_one_trial_have_what_stands_before_the_last_hyphen() -> None:
    assert by_own([*sorted(OLD), "ab-44444444"]) == {
        "ab-": ["ab-11111111", "ab-44444444"],
        "ab-cd-": ["ab-cd-22222222"],
        "abc-": ["abc-33333333"],
        "e-f-": ["e-f-"],
    }


def test_trackio_s_run_takes_the_place_of_its_own_trial_s_alone(
    study: StudyRuns, tmp_path: Path
) -> None:
    storage = Storage(tmp_path, {f"normlab-{mark}": mark for mark in OLD})
    said = trackio._write(named(study, *NEW), "d", storage)
    assert said == {"added": 2, "known": 1}
    assert {run for run in storage.runs if "-arm-" not in run} == {f"normlab-{m}" for m in LEFT}


def test_wandb_s_run_takes_the_place_of_its_own_trial_s_alone(
    study: StudyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out" / "wandb"
    for mark in OLD:
        (folder / f"offline-run-20260101_000000-{mark}").mkdir(parents=True)

    def put(self: Any, aside: Path, values: dict[str, Any]) -> None:
        (folder / f"offline-run-20260102_000000-{values['id']}").mkdir()

    monkeypatch.setattr(wandb._Writer, "_put", put)
    package = SimpleNamespace(Error=RuntimeError)
    found = wandb._Writer(package, tmp_path / "out", "out").write(named(study, *NEW))
    assert (found.added, found.known) == (2, 1)
    marks = {path.name.split("_000000-")[1] for path in folder.iterdir()}
    assert {mark for mark in marks if not mark.startswith("arm-")} == LEFT


def test_a_refused_project_of_trackio_is_told_with_the_place_alone_filled_in(
    study: StudyRuns, tmp_path: Path
) -> None:
    storage = Storage(tmp_path, {"1": "to DEST"})
    said = "^d has a project paper with a run to DEST that normlab did not write"
    with pytest.raises(UserError, match=said):
        trackio._write(study, "d", storage)


def test_a_command_has_the_home_folder_that_was_written_to(
    study: StudyRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(trackio, "_in_child", lambda *_: {"added": 1, "known": 0})
    found = trackio.write(study, "~/a b")
    assert found.opens == f"TRACKIO_DIR='{tmp_path}/a b' trackio show --project paper"
    assert in_shell("~/x") == f"{tmp_path}/x"
    assert in_shell("x y") == "'x y'"


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, MachineError), (errno.EACCES, UserError)]
)
def test_a_full_disk_is_not_the_user_s_fault(
    number: int, kind: type[UserError], study: StudyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, uri: str, dest: str) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(mlflow, "needed", lambda _: SimpleNamespace(MlflowException=RuntimeError))
    monkeypatch.setattr(mlflow._Writer, "__init__", refuse)
    with pytest.raises(UserError, match=r"^http://x/ cannot be written: no$") as raised:
        mlflow.write(study, "http://x/")
    assert type(raised.value) is kind


def test_replaced_characters_are_told() -> None:
    cut = Shortener("X")
    cut.changed("a*b", "key")
    assert cut.said == ["1 key with characters that X refuses, replaced by _"]
