"""How far a study is: read in milliseconds, and only where something was written."""

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from normlab.live.looking import LOST, PRESENCE, Looker
from normlab.store import Store
from normlab.store.paths import DATABASE
from tests.live.conftest import Clock
from tests.made_stores import begin, fill, numbers, plan, rows, trial_id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looker(tmp_path: Path, clock: Clock) -> Looker:
    """Of a study with 2 arms x 3 seeds x 2 epochs, of which two trials are finished."""
    folder = fill(tmp_path / "study", plan(range(3)), [("batch", 0), ("none", 1)])
    return Looker(folder, clock, lambda: (folder / DATABASE).stat().st_mtime + 60)


@pytest.fixture
def writer(looker: Looker) -> Iterator[Store]:
    with Store.write(looker.folder) as store:
        yield store


def test_it_counts_trials_and_epochs_and_names_who_is_at_work(
    looker: Looker, writer: Store
) -> None:
    begin(writer, "batch", 2, 1)
    writer.fail(trial_id("none", 2), "Traceback:\n  here\nValueError: no")
    found = looker.look()
    assert found.counts == {"complete": 2, "pending": 2, "running": 1, "failed": 1}
    assert (found.trials, found.finished, found.epochs, found.planned) == (6, 2, 5, 12)
    [running] = found.running
    assert (running.arm, running.seed, running.epoch, running.of) == ("batch", 2, 1, 2)
    [failure] = found.failures
    assert (failure.arm, failure.seed, failure.last) == ("none", 2, "ValueError: no")
    assert "here" in failure.reason


def test_nothing_is_read_where_nothing_was_written(looker: Looker, clock: Clock) -> None:
    first = looker.look()
    for _ in range(5):
        clock.now += PRESENCE / 6
        assert looker.look() is first
    assert looker.reads == 1


def test_its_own_reading_is_no_change(looker: Looker) -> None:
    first = looker.look()
    assert (looker.folder / f"{DATABASE}-wal").exists()  # which reading leaves, without content
    assert looker.look() is first


def test_files_that_changed_just_now_are_looked_at_again(looker: Looker) -> None:
    looker.wall = lambda: (looker.folder / DATABASE).stat().st_mtime + 0.01
    looker.look()
    looker.look()
    assert looker.reads == 2


def test_every_epoch_is_seen_and_only_what_a_report_shows_changes_the_version(
    looker: Looker, writer: Store
) -> None:
    looker.wall = lambda: 0.0  # so that every look reads
    versions = [looker.look().version]
    begin(writer, "batch", 2, 1)
    versions.append(looker.look().version)
    writer.add_epoch(trial_id("batch", 2), numbers("batch", 2)[0][1])
    versions.append(looker.look().version)
    writer.finish(trial_id("batch", 2), numbers("batch", 2)[1], [])
    versions.append(looker.look().version)
    writer.record_plan(plan(range(4)), rows(plan(range(4))))
    versions.append(looker.look().version)
    assert len(set(versions)) == 5
    assert looker.look().version == versions[-1]
    assert looker.look().trials == 8


def test_a_look_holds_nothing_that_a_checkpoint_waits_for(looker: Looker, writer: Store) -> None:
    looker.wall = lambda: 0.0
    looker.look()
    begin(writer, "batch", 2, 2)
    looker.look()
    answer = writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert answer[0] == 0
    assert (looker.folder / f"{DATABASE}-wal").stat().st_size == 0


def test_who_is_at_work_is_looked_for_though_nothing_is_written(
    tmp_path: Path, clock: Clock
) -> None:
    folder = fill(tmp_path / "study", plan(range(3)), [("batch", 0)])
    looker = Looker(folder, clock)
    with Store.join(folder) as store:
        store.claim([trial_id("batch", 1)])
        begin(store, "batch", 1, 1)
        store.let_in()
        found = looker.look()
        assert (found.at_work, found.counts["running"]) == (1, 1)
    os.utime(folder / DATABASE, (1, 1))
    looker.wall = lambda: 1e12
    looker.look()
    reads = looker.reads
    clock.now += PRESENCE
    found = looker.look()
    assert looker.reads == reads + 1
    assert (found.at_work, found.counts["interrupted"]) == (0, 1)


def test_lost_files_are_named_and_looked_for_now_and_then(looker: Looker, clock: Clock) -> None:
    looker.wall = lambda: 0.0
    assert looker.look().lost == []
    (looker.folder / "artifacts" / trial_id("batch", 0) / "weights.pt").unlink()
    assert looker.look().lost == []
    clock.now += LOST + 1
    [lost] = looker.look().lost
    assert (lost["arm"], lost["seed"], lost["kind"], lost["reason"]) == (
        "batch", 0, "weights", "is gone",
    )  # fmt: skip


# Of the finished trials each epoch took 1.5 seconds.


def test_hours_left_are_of_one_worker_where_nobody_is_at_work(looker: Looker) -> None:
    left = looker.look().left
    assert left is not None
    assert left.workers == 0
    assert left.hours == pytest.approx(4 * 2 * 1.5 / 3600)


def test_those_at_work_share_what_is_left(looker: Looker, writer: Store) -> None:
    begin(writer, "batch", 1, 1)
    begin(writer, "batch", 2, 0)
    left = looker.look().left
    assert left is not None
    assert left.workers == 2
    assert left.hours == pytest.approx((4 * 2 - 1) * 1.5 / 3600 / 2)


def test_trials_that_train_together_are_one_worker(looker: Looker, writer: Store) -> None:
    for arm, seed in (("batch", 1), ("batch", 2), ("none", 0)):
        begin(writer, arm, seed, 0, together="3")
    left = looker.look().left
    assert left is not None
    assert left.workers == 1
    assert left.hours == pytest.approx(4 * 2 * 1.5 / 3600)


def _took(looker: Looker, trial: str, seconds: float) -> None:
    """As if a trial had taken so long on the clock."""
    connection = sqlite3.connect(looker.folder / DATABASE)
    with connection:
        began = datetime(2026, 1, 1)
        connection.execute(
            "UPDATE trials SET started_at = ?, finished_at = ? WHERE id = ?",
            (began.isoformat(), (began + timedelta(seconds=seconds)).isoformat(), trial),
        )
    connection.close()


def test_what_trials_take_beside_their_training_counts(looker: Looker) -> None:
    for arm, seed in (("batch", 0), ("none", 1)):
        _took(looker, trial_id(arm, seed), 6.0)  # of which they trained 3
    left = looker.look().left
    assert left is not None
    assert left.hours == pytest.approx(2 * 4 * 2 * 1.5 / 3600)


def test_a_night_without_a_run_does_not_count_for_ever(looker: Looker) -> None:
    for arm, seed in (("batch", 0), ("none", 1)):
        _took(looker, trial_id(arm, seed), 36000.0)
    left = looker.look().left
    assert left is not None
    assert left.hours == pytest.approx(10 * 4 * 2 * 1.5 / 3600)


def test_an_arm_without_a_speed_has_that_of_all_and_none_at_all_says_nothing(
    tmp_path: Path,
) -> None:
    folder = fill(tmp_path / "one", plan(range(2)), [("batch", 0), ("batch", 1)])
    left = Looker(folder).look().left
    assert left is not None
    assert left.hours == pytest.approx(2 * 2 * 1.5 / 3600)
    assert Looker(fill(tmp_path / "none", plan(range(2)), [])).look().left is None


def test_a_finished_study_has_nothing_left_and_is_read_once(tmp_path: Path, clock: Clock) -> None:
    every = [(arm, seed) for arm in ("batch", "none") for seed in range(2)]
    folder = fill(tmp_path / "study", plan(range(2)), every)
    looker = Looker(folder, clock, lambda: 1e12)
    found = looker.look()
    assert (found.left, found.finished, found.epochs, found.planned) == (None, 4, 8, 8)
    clock.now += 100 * PRESENCE
    assert looker.look() is found


def test_a_trial_that_ended_early_is_through(looker: Looker, writer: Store) -> None:
    begin(writer, "batch", 2, 1)
    writer.finish(trial_id("batch", 2), replace(numbers("batch", 2)[1], state="diverged"), [])
    found = looker.look()
    assert (found.epochs, found.planned) == (5, 11)


def test_reasons_name_no_folder_of_the_machine(looker: Looker, writer: Store) -> None:
    said = json.dumps(str(looker.folder))
    writer.fail(trial_id("none", 2), f'File "/home/me/a b/x.py", line 1\nOSError: {said}')
    [failure] = looker.look().failures
    assert failure.reason == 'File "x.py", line 1\nOSError: "study"'


def test_a_path_with_control_characters_in_it_is_still_one(tmp_path: Path) -> None:
    folder = fill(tmp_path / "odd\x1b[2J\nname" / "study", plan(range(2)), [])
    with Store.write(folder) as store:
        store.fail(trial_id("none", 0), f"OSError: {folder}/x.pt is gone\x07")
    [failure] = Looker(folder).look().failures
    assert failure.reason == "OSError: study/x.pt is gone\\x07"
