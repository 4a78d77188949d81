"""Two runs of one study in one folder: exactly once, whatever becomes of one of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.study.test_runner import exploratory, plan, weights

from normlab import api
from normlab.errors import UserError
from normlab.progress import Lines
from normlab.store import Store, leases
from normlab.store.presence import CAN_SHARE
from normlab.study.events import (
    EpochEnded,
    Event,
    LookTaken,
    RunBegan,
    RunWaits,
    TrialEnded,
    TrialStarted,
    TrialTakenOver,
)
from normlab.study.plan import Plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.session import train
from normlab.study.spec import Study

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="runs share a folder where locks can be")

DRIVER = """
import json, os, signal, sys
from pathlib import Path
from tests.study.test_runner import plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.session import train
from normlab.study.spec import Study

runs, values, act, at, workers = json.loads(sys.argv[1])
seen = 0

def listener(event):
    global seen
    kind = type(event).__name__
    its = getattr(event, "id", "") if kind != "LookTaken" else [event.seeds, event.open_claims]
    print(json.dumps([kind, its]), flush=True)
    seen += kind == "EpochEnded"
    if kind == "EpochEnded" and seen == at:  # between two writes
        os.kill(os.getpid(), getattr(signal, act))

if __name__ == "__main__":
    options = RunOptions(workers=workers)
    if "claims" in values:
        study = Study.parse(values)
        made = train(study, Path(runs), options, until_settled=True, listener=listener)
    else:
        made = run_plan(plan(**values), Path(runs), options, listener)
    said = {"others": made.others, "trained": made.trained, "taken_over": sorted(made.taken_over)}
    print(json.dumps(["Summary", said]), flush=True)
"""
ROOT = Path(__file__).parents[2]
VALUES = {"factors": {"norm": ["none", "batch", "layer"]}, "seeds": 3}


@pytest.fixture(autouse=True)
def alone_in_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial a unit of work, so that there is something to share; workers inherit it."""
    monkeypatch.setenv("NORMLAB_LANES", "0")


class Driver:
    """A run in a process of its own, which sends itself a signal after some epochs."""

    def __init__(
        self, folder: Path, act: str = "SIGKILL", at: int = -1, workers: int = 1, **values: Any
    ) -> None:
        script = folder / "driver.py"
        script.write_text(DRIVER)
        self.said: list[Any] = []
        words = json.dumps([str(folder / "runs"), values or VALUES, act, at, workers])
        self.process = subprocess.Popen(
            [sys.executable, str(script), words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )

    def until(self, kind: str) -> Any:
        """What is said of a kind next."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if self.said[-1][0] == kind:
                return self.said[-1][1]
        raise AssertionError(f"no {kind}: {self.said}")

    def wait_until_stopped(self) -> None:
        """Wait for the signal that it sends itself."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def rest(self) -> int:
        """Read what is said until it ends; its exit code."""
        assert self.process.stdout is not None
        self.said += map(json.loads, self.process.stdout)
        return self.process.wait()

    def ids(self, kind: str) -> list[str]:
        """The trials of which it told events of a kind."""
        return [its for said, its in self.said if said == kind]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Makes runs in other processes, and ends those that are left."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> Driver:
            made = Driver(tmp_path, *arguments, **options)
            stack.enter_context(made.process)
            stack.callback(made.process.kill)
            return made

        yield start


Drivers = Callable[..., Driver]


class Told:
    """Keeps what a run tells."""

    def __init__(self, then: Callable[[Event], None] = lambda _: None) -> None:
        self.events: list[Event] = []
        self.then = then

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.then(event)

    def ids(self, kind: type) -> list[str]:
        return [event.id for event in self.events if isinstance(event, kind)]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The weights of a run that had the folder for itself."""
    folder = tmp_path_factory.mktemp("serial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NORMLAB_LANES", "0")
        run_plan(made(), folder)
    return weights(folder / "s")


def made() -> Plan:
    return plan(**VALUES)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_of_two_runs_is_killed_and_nothing_is_lost_or_trained_twice(
    tmp_path: Path, driver: Drivers, serial: dict[str, str], workers: int
) -> None:
    killed = driver("SIGKILL", at=4, workers=workers)
    killed.until("EpochEnded")
    told = Told()
    summary = run_plan(made(), tmp_path / "runs", listener=told)
    assert killed.rest() == -signal.SIGKILL
    assert weights(tmp_path / "runs" / "s") == serial
    assert summary.counts == {"complete": len(serial)}
    assert summary.others == 0
    ended = Counter(killed.ids("TrialEnded") + told.ids(TrialEnded))
    # What was stored is told afterwards: of one trial of each worker the killed run cannot have.
    assert set(ended.values()) == {1}
    assert len(ended) >= len(serial) - workers
    begun = Counter(dict.fromkeys(killed.ids("TrialStarted"), 1))
    begun += Counter(dict.fromkeys(told.ids(TrialStarted), 1))
    twice = {trial for trial, count in begun.items() if count == 2}
    assert not twice & set(killed.ids("TrialEnded")), "only what it had not finished"
    left = {path.name for path in (tmp_path / "runs" / "s").iterdir()}
    assert not [name for name in left if name.startswith("run-")]


def test_two_runs_share_the_trials_and_the_last_one_is_told_that_it_is(
    tmp_path: Path, driver: Drivers, serial: dict[str, str]
) -> None:
    other = driver("SIGSTOP", at=1)  # until this one has begun, too
    other.until("EpochEnded")
    other.wait_until_stopped()

    def then(event: Event) -> None:
        if isinstance(event, RunBegan):
            other.process.send_signal(signal.SIGCONT)

    told = Told(then)
    summary = run_plan(made(), tmp_path / "runs", listener=told)
    assert other.rest() == 0
    theirs = other.said[-1][1]
    assert sorted([summary.others, theirs["others"]]) == [0, 1]
    assert summary.trained + theirs["trained"] == len(serial)
    assert sorted(other.ids("TrialEnded") + told.ids(TrialEnded)) == sorted(serial)
    assert sorted(other.ids("TrialStarted") + told.ids(TrialStarted)) == sorted(serial)
    assert weights(tmp_path / "runs" / "s") == serial


def test_a_run_that_stood_still_writes_over_nothing_and_says_so(
    tmp_path: Path,
    driver: Drivers,
    serial: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = driver("SIGSTOP", at=1)
    victim = still.until("EpochEnded")
    still.wait_until_stopped()
    monkeypatch.setattr(leases, "LEASE", 2.0)
    told = Told()
    summary = run_plan(made(), tmp_path / "runs", listener=told)
    assert (summary.trained, summary.others) == (len(serial), 0)
    assert victim in told.ids(TrialEnded)
    folder = tmp_path / "runs" / "s"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(folder)}
    still.process.send_signal(signal.SIGCONT)
    assert still.rest() == 0
    theirs = still.said[-1][1]
    assert theirs == {"others": 0, "trained": 0, "taken_over": [victim]}
    assert still.ids("TrialTakenOver") == [victim]
    assert still.ids("TrialEnded") == []
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in files(folder)}
    assert weights(folder) == serial
    assert not list((folder / "checkpoints").iterdir())


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "artifacts").rglob("*") if path.is_file())


SEQUENTIAL = {
    "name": "s",
    "question": "?",
    "base": {"data": "digits", "model": "digits-small", "epochs": 1, "batch_size": 64},
    "factors": {"lr": [0.05, 0.051]},
    "seeds": 3,
    "analysis": {"looks": [3, 5], "margin": 0.1},
    "claims": [{"kind": "better", "name": "c", "arm": {"lr": 0.051}, "over": {"lr": 0.05}}],
}


def test_two_runs_add_seeds_at_the_same_looks(tmp_path: Path, driver: Drivers) -> None:
    other = driver(**SEQUENTIAL)
    other.until("EpochEnded")
    told = Told()
    study = Study.parse(SEQUENTIAL)
    train(study, tmp_path / "runs", until_settled=True, listener=told)
    assert other.rest() == 0
    looks = [e for e in told.events if isinstance(e, LookTaken)]
    assert [its for kind, its in other.said if kind == "LookTaken"] == [
        [look.seeds, list(look.open_claims)] for look in looks
    ]
    assert len(looks) == 2, "else it says nothing of a plan that another run goes on from"
    ended = sorted(other.ids("TrialEnded") + told.ids(TrialEnded))
    assert ended == sorted(weights(tmp_path / "runs" / "s"))
    assert len(ended) == 10
    assert exploratory(tmp_path / "runs" / "s") == [None]
    with Store.read(tmp_path / "runs" / "s") as store:
        assert set(store.plan().trials) == set(ended)


@contextlib.contextmanager
def busy(folder: Path, trials: list[str], of: Plan | None = None) -> Iterator[Store]:
    """Another run, in this process, that has trials and does not go on."""
    of = of or made()
    with Store.join(folder) as store:
        store.record_plan(of.record, of.rows())
        store.let_in()
        store.claim(trials)
        yield store


def test_a_run_waits_for_others_trials_and_takes_up_what_becomes_free(
    tmp_path: Path, serial: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    held = list(made().trials)[2:4]
    with busy(tmp_path / "s", held) as other:
        lines = Lines()

        def then(event: Event) -> None:
            lines(event)
            if isinstance(event, RunWaits):
                assert other.states(held) == dict.fromkeys(held, "pending")
                other.leave()

        told = Told(then)
        summary = run_plan(made(), tmp_path, listener=told)
    assert [event.trials for event in told.events if isinstance(event, RunWaits)] == [2]
    begun = [event.trials for event in told.events if isinstance(event, RunBegan)]
    assert begun == [len(serial) - 2, 2]
    assert "waiting for 2 trials in training by other runs" in capsys.readouterr().out
    assert summary.trained == len(serial)
    assert weights(tmp_path / "s") == serial


def test_a_run_that_waits_can_be_stopped(tmp_path: Path) -> None:
    small = plan(seeds=1, factors={"norm": ["none"]})

    def then(event: Event) -> None:
        if isinstance(event, RunWaits):
            raise KeyboardInterrupt

    with busy(tmp_path / "s", list(small.trials), small) as other:
        summary = run_plan(small, tmp_path, listener=Told(then))
        assert (summary.interrupted, summary.others) == ("interrupted", 1)
        assert other.work(list(small.trials)).free == frozenset()
        other.start(next(iter(small.trials)), {}, 0)


def test_a_trial_taken_over_while_its_run_trained_is_told_and_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, other = plan(seeds=1), []
    lines = Lines()

    def then(event: Event) -> None:
        lines(event)
        if isinstance(event, EpochEnded) and not other:
            joined = Store.join(tmp_path / "s")
            other.append(joined)
            store = joined.__enter__()
            store._connection.execute("UPDATE drivers SET clock = -1e9 WHERE id != ?", (store.run,))
            assert store.claim([event.id]) == {event.id}
        if isinstance(event, TrialTakenOver):
            other[0].__exit__(None, None, None)

    told = Told(then)
    summary = run_plan(small, tmp_path, listener=told)
    (lost,) = told.ids(TrialTakenOver)
    assert summary.taken_over == {lost}
    assert capsys.readouterr().out.count("taken over by another run") == 1
    # The other one left it, so it is this run's again in the end.
    assert sorted(told.ids(TrialEnded)) == sorted(small.trials)
    assert summary.counts == {"complete": 2}


@pytest.mark.parametrize("option", ["same_machine", "retrain_lost"])
def test_who_replaces_finished_trials_must_be_alone(tmp_path: Path, option: str) -> None:
    with (
        busy(tmp_path / "s", []),
        pytest.raises(UserError, match="another run is writing"),
    ):
        run_plan(made(), tmp_path, RunOptions(**{option: True}))


def test_a_run_of_another_variant_is_refused(tmp_path: Path) -> None:
    other = plan(factors={"norm": ["none", "instance"]})
    with busy(tmp_path / "s", []) as store:
        with pytest.raises(UserError, match="another run trains another variant"):
            run_plan(other, tmp_path)
        assert store.plan() == made().record
    assert run_plan(other, tmp_path).counts == {"complete": 4}


def test_the_report_is_the_last_run_s(tmp_path: Path) -> None:
    study = Study.parse(
        {
            "name": "s",
            "question": "?",
            "base": {"data": "digits", "model": "digits-small", "epochs": 1},
            "seeds": 1,
        }
    )
    with Store.join(tmp_path / "s") as other:
        other.let_in()
        results = api.run(study, runs=tmp_path)
        assert len(results.arms) == 1
        assert api.status(study, runs=tmp_path).at_work == 1
    assert not (tmp_path / "s" / "report.html").exists()
    api.run(study, runs=tmp_path)
    assert (tmp_path / "s" / "report.html").exists()


def test_the_trial_of_a_run_at_work_is_running_and_of_one_that_is_gone_interrupted(
    tmp_path: Path,
) -> None:
    study, trials = made().study, list(made().trials)
    with busy(tmp_path / "s", trials[:1]) as other:
        other.start(trials[0], {}, 0)
        other._connection.execute(
            "UPDATE trials SET state = 'running' WHERE id = ?", (trials[1],)
        )  # as a killed run leaves it
        found = {trial["id"]: trial["state"] for trial in api.status(study, runs=tmp_path).trials}
        assert (found[trials[0]], found[trials[1]]) == ("running", "interrupted")
        assert api.status(study, runs=tmp_path).at_work == 1
    assert api.status(study, runs=tmp_path).counts["interrupted"] == 2
