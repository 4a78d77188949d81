"""Runs end to end: exactly once, resumed, interrupted, failed; on both engines."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from normlab.errors import MachineError, UserError
from normlab.files import write_whole
from normlab.frames import claim_table, load_frames
from normlab.store import DATABASE, Store
from normlab.study.engines import EpochTrained, Placed, Started, Task, work
from normlab.study.events import EpochEnded, Event, TrialStarted
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from normlab.train import checkpoint, loop


def plan(name: str = "s", **values: Any) -> Plan:
    base = {"data": "digits", "model": "digits-small", "epochs": 2, "batch_size": 64}
    factors = {"norm": ["none", "batch"]}
    content = {"name": name, "question": "?", "base": base, "factors": factors, "seeds": 2}
    return make_plan(Study.parse({**content, **values}))


def weights(folder: Path) -> dict[str, str]:
    with sqlite3.connect(folder / DATABASE) as raw:
        rows = raw.execute("SELECT id, result FROM trials WHERE state = 'complete'").fetchall()
    raw.close()
    return {trial: json.loads(result)["weights_sha256"] for trial, result in rows}


def test_serial_and_processes_give_equal_weights_and_train_once(tmp_path: Path) -> None:
    made = plan()
    for engine, workers in (("serial", 1), ("processes", 2)):
        first = run_plan(made, tmp_path / engine, RunOptions(workers=workers))
        assert (first.trained, first.counts) == (4, {"complete": 4})
        again = run_plan(made, tmp_path / engine, RunOptions(workers=workers))
        assert (again.trained, again.counts) == (0, {"complete": 4})
    one, other = (weights(tmp_path / engine / "s") for engine in ("serial", "processes"))
    assert one == other
    assert len(one) == 4


def test_a_finished_trial_leaves_weights_and_no_checkpoint(tmp_path: Path) -> None:
    import torch

    from normlab.train import weights_sha256

    run_plan(plan(), tmp_path)
    folder = tmp_path / "s"
    assert not list((folder / "checkpoints").iterdir())
    for trial, expected in weights(folder).items():
        state = torch.load(folder / "artifacts" / trial / "weights.pt", weights_only=True)
        assert weights_sha256(state) == expected


def test_only_new_cells_of_a_grown_study_are_trained(tmp_path: Path) -> None:
    run_plan(plan(), tmp_path)
    grown = run_plan(plan(factors={"norm": ["none", "batch", "layer"]}), tmp_path)
    assert (grown.planned, grown.trained) == (6, 2)


def test_trials_of_another_study_are_taken_over(tmp_path: Path) -> None:
    run_plan(plan("first"), tmp_path)
    second = run_plan(plan("second", seeds=3), tmp_path)
    assert second.adopted == {"first": 4}
    assert second.trained == 2
    assert weights(tmp_path / "first").items() <= weights(tmp_path / "second").items()


class Interrupting:
    """Ctrl-C after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt


def test_a_last_epoch_without_a_checkpoint_is_stored_with_the_trial_s_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_WORTH_KEEPING", 60.0)
    made = plan(factors={"norm": ["none"]}, seeds=1, overrides={"epochs": 3})
    assert run_plan(made, tmp_path, listener=Interrupting(3)).interrupted
    before = seconds_stored(tmp_path / "s")
    assert sorted(epoch for _, epoch in before) == [1, 2], "the third is trained again"
    assert run_plan(made, tmp_path).counts == {"complete": 1}
    after = seconds_stored(tmp_path / "s")
    assert before.items() <= after.items()
    assert len(after) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, workers: int) -> None:
    made = plan()
    options = RunOptions(workers=workers)
    stopped = run_plan(made, tmp_path / "a", options, Interrupting(3))
    assert stopped.interrupted
    assert "running" not in stopped.counts
    run_plan(made, tmp_path / "a", options)
    run_plan(made, tmp_path / "b")
    assert weights(tmp_path / "a" / "s") == weights(tmp_path / "b" / "s")


@pytest.mark.usefixtures("torch_path")
def test_a_trial_that_raises_is_failed_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan()
    broken = made.record.arms[0].trials[1].id

    def train(recipe: Any, seed: int, *args: Any, **options: Any) -> Any:
        if recipe.norm.kind == "none" and seed == 1:
            raise ZeroDivisionError("planted")
        return whole(recipe, seed, *args, **options)

    whole = work.train
    monkeypatch.setattr(work, "train", train)
    summary = run_plan(made, tmp_path)
    assert summary.counts == {"complete": 3, "failed": 1}
    assert summary.failures == {broken: "ZeroDivisionError: planted"}
    with Store.read(tmp_path / "s") as store:
        assert "Traceback" in store.rows("trials", [broken])[0]["reason"]
    monkeypatch.undo()
    assert run_plan(made, tmp_path).trained == 0
    retried = run_plan(made, tmp_path, RunOptions(retry_failed=True))
    assert (retried.trained, retried.counts) == (1, {"complete": 4})


class Killing:
    """Kills the worker of the first trial that starts."""

    def __init__(self) -> None:
        self.victim: str | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialStarted) and self.victim is None:
            self.victim = event.id
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            for child in children:
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_trial_of_a_killed_worker_is_trained_again_alone(tmp_path: Path) -> None:
    made = plan()
    killer = Killing()
    summary = run_plan(made, tmp_path, RunOptions(workers=2), killer)
    assert killer.victim is not None
    assert (summary.failures, summary.put_back) == ({}, {})
    assert summary.counts == {"complete": 4}


class Full:
    """A disk on which files of some name have no room, the n-th and later ones."""

    def __init__(self, ending: str, after: int, number: int = errno.ENOSPC) -> None:
        self.ending, self.after, self.number, self.seen = ending, after, number, 0

    def __call__(self, path: Path, content: bytes) -> None:
        if path.name.endswith(self.ending):
            self.seen += 1
            if self.seen > self.after:
                raise OSError(self.number, os.strerror(self.number), str(path))
        write_whole(path, content)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
@pytest.mark.usefixtures("torch_path")
def test_a_fault_of_the_machine_stops_the_run_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 3, "batch_size": 64}
    made = plan(base=base)
    # The first trial's first two epochs and the second's first have room.
    monkeypatch.setattr(checkpoint, "write_whole", Full(".pt", 3, number))
    with pytest.raises(MachineError, match=f"stopped after 1 trial: .*{os.strerror(number)}"):
        run_plan(made, tmp_path)
    assert states(tmp_path / "s") == {"complete": 1, "pending": 3}
    left = list((tmp_path / "s" / "checkpoints").iterdir())
    assert len(left) == 1, "the epoch that had room"
    monkeypatch.undo()
    before = seconds_stored(tmp_path / "s")
    assert run_plan(made, tmp_path).counts == {"complete": 4}
    assert before.items() <= seconds_stored(tmp_path / "s").items(), "no epoch trained twice"


def test_a_checkpoint_that_cannot_be_read_now_keeps_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(plan(), tmp_path, listener=Interrupting(1))
    (left,) = (tmp_path / "s" / "checkpoints").iterdir()
    content, whole = left.read_bytes(), Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path == left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(MachineError, match="Too many open files"):
        run_plan(plan(), tmp_path)
    monkeypatch.undo()
    assert left.read_bytes() == content
    assert states(tmp_path / "s") == {"pending": 4}


@pytest.mark.parametrize(
    ("reason", "is_trained"),
    [
        ("Traceback\nOSError: [Errno 28] No space left on device", True),
        ("Traceback\nOSError: [Errno 2] No such file", False),
        ("the worker process was ended by SIGKILL (out of memory?)", True),
        ("Traceback\nZeroDivisionError: x", False),
    ],
)
def test_trials_that_an_older_normlab_failed_for_the_machine_are_taken_up_from_their_checkpoints(
    tmp_path: Path, reason: str, is_trained: bool
) -> None:
    made = plan(seeds=1)
    run_plan(made, tmp_path, listener=Interrupting(1))
    before = seconds_stored(tmp_path / "s")
    with sqlite3.connect(tmp_path / "s" / DATABASE) as raw:
        raw.execute("UPDATE trials SET state = 'failed', reason = ?", (reason,))
    raw.close()
    assert run_plan(made, tmp_path).trained == (2 if is_trained else 0)
    if is_trained:
        assert before.items() <= seconds_stored(tmp_path / "s").items()


def test_images_that_changed_meanwhile_fail_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan()
    monkeypatch.setattr(work, "data_digest", lambda _: "other")
    with pytest.raises(MachineError, match="stopped after 0 trials: the images changed"):
        run_plan(made, tmp_path)
    assert states(tmp_path / "s") == {"pending": 4}


def states(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / DATABASE) as raw:
        found = raw.execute("SELECT state, count(*) FROM trials GROUP BY state").fetchall()
    raw.close()
    return dict(found)


@pytest.mark.parametrize(
    ("times", "ends"), [(1, {"complete": 2}), (9, {"complete": 1, "pending": 1})]
)
@pytest.mark.usefixtures("torch_path")
def test_a_trial_that_memory_is_too_short_for_runs_once_more_and_never_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, ends: dict[str, int]
) -> None:
    left = times

    def train(recipe: Any, *args: Any, **options: Any) -> Any:
        nonlocal left
        if recipe.norm.kind == "none" and left:
            left -= 1
            raise MemoryError("no room for it")
        return whole(recipe, *args, **options)

    whole = work.train
    monkeypatch.setattr(work, "train", train)
    summary = run_plan(plan(seeds=1), tmp_path)
    assert summary.counts == ends
    assert [r for r in summary.put_back.values() if "no room for it" not in r] == []
    assert len(summary.put_back) == ends.get("pending", 0)


def test_a_rehearsal_costs_no_checkpoint_of_the_study(tmp_path: Path) -> None:
    run_plan(plan(), tmp_path, listener=Interrupting(1))
    (left,) = (tmp_path / "s" / "checkpoints").iterdir()
    run_plan(plan(base={"data": "digits", "model": "digits-small", "epochs": 1}, seeds=1), tmp_path)
    assert left.exists()


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(bytes(len(path.read_bytes())))


@pytest.mark.parametrize("how", ["gone", "cut off", "changed"])
def test_lost_files_are_said_and_made_again_on_request(tmp_path: Path, how: str) -> None:
    made = plan(seeds=1)
    run_plan(made, tmp_path)
    folder = tmp_path / "s"
    before, times = weights(folder), seconds_stored(folder)
    victim = sorted(before)[0]
    path = folder / "artifacts" / victim / "weights.pt"
    content = path.read_bytes()
    damage(path, how)
    summary = run_plan(made, tmp_path)
    # A size is looked at every time, a hash where that is asked for.
    assert [loss.trial_id for loss in summary.losses] == ([] if how == "changed" else [victim])
    mended = run_plan(made, tmp_path, RunOptions(retrain_lost=True))
    assert (mended.mended, mended.losses, mended.trained) == ({victim: True}, (), 1)
    assert path.read_bytes() == content
    assert (weights(folder), seconds_stored(folder)) == (before, times), "the results stay"
    assert not list((folder / "checkpoints").iterdir())


@pytest.mark.usefixtures("torch_path")
def test_mending_that_is_interrupted_or_fails_leaves_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(seeds=1)
    run_plan(made, tmp_path)
    folder = tmp_path / "s"
    before = weights(folder)
    victim = sorted(before)[0]
    damage(folder / "artifacts" / victim / "weights.pt", "gone")
    mend = RunOptions(retrain_lost=True)
    assert run_plan(made, tmp_path, mend, Interrupting(1)).interrupted
    assert weights(folder) == before

    def train(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(work, "train", train)
    summary = run_plan(made, tmp_path, mend)
    assert summary.not_mended == {victim: "ZeroDivisionError: planted"}
    assert (weights(folder), summary.counts) == (before, {"complete": 2})
    assert len(summary.losses) == 1


def test_other_weights_of_a_mended_trial_take_its_place_as_a_whole(tmp_path: Path) -> None:
    made = plan(seeds=1)
    run_plan(made, tmp_path)
    folder = tmp_path / "s"
    victim = sorted(weights(folder))[0]
    damage(folder / "artifacts" / victim / "weights.pt", "gone")
    with sqlite3.connect(folder / DATABASE) as raw:  # as another machine might have made it
        raw.execute(
            "UPDATE trials SET result = json_set(result, '$.weights_sha256', 'x') WHERE id = ?",
            (victim,),
        )
        raw.execute("UPDATE epochs SET test_accuracy = 0.123 WHERE trial_id = ?", (victim,))
    raw.close()
    assert run_plan(made, tmp_path, RunOptions(retrain_lost=True)).mended == {victim: False}
    with Store.read(folder) as store:
        assert 0.123 not in [row["test_accuracy"] for row in store.rows("epochs", [victim])]
        assert store.losses([victim], hashes=True) == []
    assert weights(folder)[victim] != "x"


def test_a_clock_that_stands_still_divides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.time, "perf_counter", lambda: 1.0)
    assert run_plan(plan(seeds=1), tmp_path).counts == {"complete": 2}


def test_missing_data_is_the_user_s_mistake_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normlab import data

    data.forget()
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "empty"))
    base = {"data": "mnist", "model": "mnist-7288"}
    with pytest.raises(UserError, match="data 'mnist'"):
        run_plan(plan(base=base), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_mistake_leaves_the_last_plan_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normlab import data

    run_plan(plan(), tmp_path)
    data.forget()
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="data 'mnist'"):
        run_plan(plan(base={"data": "mnist", "model": "mnist-7288"}), tmp_path)
    with Store.read(tmp_path / "s") as store:
        assert store.plan() == plan().record


def test_a_neighbour_that_cannot_be_read_is_said_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / DATABASE).write_bytes(b"no database" * 100)
    summary = run_plan(plan(), tmp_path)
    assert summary.trained == 4
    assert list(summary.unreadable) == ["old"]


@pytest.mark.parametrize("options", [{"workers": 0}, {"threads": 0}, {"workers": "two"}], ids=str)
def test_impossible_numbers_of_workers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"is (0|'two'): a whole number above 0"):
        RunOptions(**options)


def test_what_a_killed_run_left_lying_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "s" / "checkpoints" / "0123.pt.77.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    run_plan(plan(), tmp_path)
    assert not left.exists()


COMMAND = [
    sys.executable,
    "-m",
    "normlab",
    "run",
    "digits-norms",
    "--set",
    "epochs=6",
    "--seeds",
    "1",
]


def epochs_stored(folder: Path) -> int:
    if not (folder / DATABASE).exists():
        return 0
    raw = sqlite3.connect(f"{(folder / DATABASE).as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        return int(raw.execute("SELECT count(*) FROM epochs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        raw.close()


def seconds_stored(folder: Path) -> dict[tuple[str, int], float]:
    raw = sqlite3.connect(folder / DATABASE)
    rows = raw.execute("SELECT trial_id, epoch, seconds FROM epochs").fetchall()
    raw.close()
    return {(trial, epoch): seconds for trial, epoch, seconds in rows}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_started_again_ends_with_the_weights_of_a_whole_one(
    tmp_path: Path, workers: str
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = subprocess.Popen(
        [*COMMAND, "--workers", workers, "--runs", str(killed)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while epochs_stored(killed / "digits-norms") < 9 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    before = seconds_stored(killed / "digits-norms")
    assert 9 <= len(before) < 30, "killed in mid-run"
    made = make_plan(Study.load("digits-norms").vary(overrides={"epochs": 6}, seeds=1))
    run_plan(made, killed, RunOptions(workers=int(workers)))
    run_plan(made, whole)
    after = seconds_stored(killed / "digits-norms")
    assert len(after) == 30
    # Epochs stored before the kill were not trained again: their times are the ones from then.
    assert before.items() <= after.items()
    first, second = (weights(runs / "digits-norms") for runs in (killed, whole))
    assert first == second
    assert len(first) == 5


@pytest.mark.usefixtures("torch_path")
@pytest.mark.parametrize(("took", "left"), [(0.0, True), (60.0, False)])
def test_a_last_epoch_has_a_checkpoint_where_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, left: bool
) -> None:
    monkeypatch.setattr(work, "_WORTH_KEEPING", took)
    trial = next(iter(plan().trials.values()))
    task = Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=tmp_path)
    there = []
    for message in work.perform((task,), "cpu"):
        if isinstance(message, EpochTrained):
            saved = checkpoint.load_checkpoint(task.checkpoint)
            there.append(0 if saved is None else len(saved.history))
    assert there == [1, 2 if left else 1]


def test_a_trial_taken_up_again_sends_the_records_it_has_and_trains_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_WORTH_KEEPING", 0.0)
    made = plan()
    trial = next(iter(made.trials.values()))
    task = Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=tmp_path)
    assert task.checkpoint == tmp_path / "checkpoints" / f"{trial.id}.pt"
    stopped = work.perform((task,), "cpu")
    _, _, first = next(stopped), next(stopped), next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    started, again, placed, second, ended = work.perform((task,), "cpu")
    assert isinstance(started, Started)
    assert started.epochs == 1
    assert again == first  # seconds of training included
    assert isinstance(placed, Placed)
    _, *records, placed, last = work.perform((task,), "cpu")
    assert isinstance(placed, Placed)
    assert records == [first, second]
    assert last == ended


FORTH = {"kind": "better", "name": "c", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
BACK = {**FORTH, "arm": {"norm": "none"}, "over": {"norm": "batch"}}


def exploratory(folder: Path) -> list[object]:
    with Store.read(folder) as store:
        return claim_table(load_frames(store))["exploratory"].tolist()


def test_a_claim_turned_round_after_a_killed_run_is_exploratory(tmp_path: Path) -> None:
    run_plan(plan(claims=[FORTH]), tmp_path)
    assert exploratory(tmp_path / "s") == [None]
    with Store.write(tmp_path / "s") as store:  # killed before the run could note its look
        store._connection.execute("DELETE FROM looks")
    run_plan(plan(claims=[BACK]), tmp_path)
    assert "before it was stated" in str(exploratory(tmp_path / "s")[0])


def test_a_claim_on_trials_seen_in_another_study_is_exploratory(tmp_path: Path) -> None:
    run_plan(plan(claims=[FORTH]), tmp_path)
    summary = run_plan(plan("other", claims=[BACK]), tmp_path)
    assert summary.adopted == {"s": 4}
    assert "before it was stated" in str(exploratory(tmp_path / "other")[0])
