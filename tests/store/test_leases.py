"""Runs that share a folder: who has a trial, what another can do to it, and who is gone."""

import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plans import plan_of
from tests.store.test_store import RESULT, is_being_written, record, row

from normlab.errors import UserError
from normlab.records import Artifact
from normlab.store import DATABASE, Store, TakenOverError, leases, presence, staged_path
from normlab.store.presence import CAN_SHARE, present

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="runs share a folder where locks can be")

IDS = ["a", "b", "c"]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two runs at work in one folder."""
    with joined(tmp_path / "s") as one, joined(tmp_path / "s") as other:
        yield one, other


@contextmanager
def joined(folder: Path) -> Iterator[Store]:
    with Store.join(folder) as store:
        store.record_plan(plan_of(), map(row, IDS))
        store.let_in()
        yield store


def stand_still(store: Store) -> None:
    """As if the run had given no sign of life for an hour."""
    store._connection.execute(
        "UPDATE drivers SET clock = clock - 3600, seen_at = seen_at - 3600 WHERE id = ?",
        (store.run,),
    )


def test_what_one_run_has_another_does_not_get(runs: tuple[Store, Store]) -> None:
    one, other = runs
    assert one.claim(["a", "b"]) == {"a", "b"}
    assert other.claim(IDS) == {"c"}
    assert one.claim(IDS) == set(), "its own neither, as a worker has it"
    assert one.work(IDS).held == {"c"}
    one.start("a", {}, 0)
    one.finish("a", RESULT, [])
    one.start("b", {}, 0)
    one.release(["b"])
    assert other.claim(IDS) == {"b"}, "a is finished, b was put back"


def changes(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "start": lambda: store.start("a", {"other": 1}, 0),
        "place": lambda: store.place("a", {"other": 1}),
        "epoch": lambda: store.add_epoch("a", record(1, 0.1)),
        "finish": lambda: store.finish("a", RESULT, []),
        "fail": lambda: store.fail("a", "no"),
    }


@pytest.mark.parametrize("change", ["start", "place", "epoch", "finish", "fail"])
@pytest.mark.parametrize("is_finished", [False, True])
def test_a_run_that_stood_still_changes_nothing_of_a_trial_it_lost(
    runs: tuple[Store, Store], change: str, is_finished: bool
) -> None:
    one, other = runs
    one.claim(["a"])
    one.start("a", {"one": 1}, 0)
    stand_still(one)
    assert other.claim(["a"]) == {"a"}
    other.start("a", {"other": 2}, 0)
    other.add_epoch("a", record(1, 0.9))
    if is_finished:
        other.finish("a", RESULT, [])
    before = [list(map(tuple, other.rows(table, ["a"]))) for table in ("trials", "epochs")]
    with pytest.raises(TakenOverError):
        changes(one)[change]()
    one.release(["a"])
    assert before == [list(map(tuple, other.rows(t, ["a"]))) for t in ("trials", "epochs")]


def test_a_sign_of_life_keeps_what_nobody_took_meanwhile(runs: tuple[Store, Store]) -> None:
    one, other = runs
    one.claim(["a", "b"])
    stand_still(one)
    assert other.claim(["a"]) == {"a"}
    leases.beat(one._connection, one.run or "")
    assert other.claim(["b"]) == set()
    one.start("b", {}, 0)


def test_a_run_gives_signs_of_life_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.01)
    with joined(tmp_path) as store:
        sql = "SELECT clock FROM drivers"
        before = store._one(sql)
        assert before is not None
        deadline = time.monotonic() + 60
        while store._one(sql) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store._one(sql) != before


def staged(store: Store, content: bytes) -> Artifact:
    """A file as a worker of this run leaves it."""
    assert store.run is not None
    path = store.folder / staged_path("a", "weights", store.run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Artifact(kind="weights", path="artifacts/a/weights.pt", sha256="x", bytes=len(content))


def test_files_get_their_names_from_the_run_that_has_the_trial(runs: tuple[Store, Store]) -> None:
    one, other = runs
    one.claim(["a"])
    stand_still(one)
    other.claim(["a"])
    theirs, mine = staged(other, b"good"), staged(one, b"stale")
    other.finish("a", RESULT, [theirs])
    with pytest.raises(TakenOverError):
        one.finish("a", RESULT, [mine])
    folder = one.folder / "artifacts" / "a"
    assert (folder / "weights.pt").read_bytes() == b"good"
    one.sweep()
    assert [path.name for path in folder.iterdir()] == ["weights.pt"]


def test_a_run_s_files_wait_while_it_stands_still(runs: tuple[Store, Store]) -> None:
    one, other = runs
    one.claim(["a"])
    one.start("a", {}, 0)
    mine = staged(one, b"good")
    stand_still(one)
    other.sweep()
    one.finish("a", RESULT, [mine])
    assert one.losses(["a"]) == []


def test_a_run_killed_before_the_row_of_its_files_is_stored_loses_nothing(
    runs: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = runs
    one.claim(["a"])
    one.start("a", {}, 0)
    mine = staged(one, b"unsaid")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_add_artifacts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one.finish("a", RESULT, [mine])
    stand_still(one)
    assert other.claim(["a"]) == {"a"}
    other.start("a", {}, 0)
    other.finish("a", RESULT, [staged(other, b"good")])
    assert (one.folder / "artifacts/a/weights.pt").read_bytes() == b"good"
    assert other.losses(["a"]) == []


HOLDING = """
import sys, time
from pathlib import Path
from normlab.store import Store
with Store.join(Path(sys.argv[1])) as store:
    store.let_in()
    print(store.claim(["a"]), flush=True)
    time.sleep(300)
"""


def test_the_trials_of_a_killed_run_are_free_at_once(tmp_path: Path) -> None:
    with joined(tmp_path) as store:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "{'a'}\n"
        with holder:
            assert store.claim(["a"]) == set()
            assert len(store.others()) == 1
            holder.send_signal(signal.SIGKILL)
        assert store.others() == set()
        assert store.claim(["a"]) == {"a"}
        assert len(list(tmp_path.glob("run-*.lock"))) == 2
        store.sweep()
        assert len(list(tmp_path.glob("run-*.lock"))) == 1
    assert not list(tmp_path.glob("run-*.lock"))
    assert present(tmp_path) == set()


def test_a_command_that_must_be_alone_and_runs_keep_each_other_out(tmp_path: Path) -> None:
    with joined(tmp_path):
        with pytest.raises(UserError, match="another run is writing"), Store.write(tmp_path):
            pass
        assert is_being_written(tmp_path)
    with (
        Store.write(tmp_path),
        pytest.raises(UserError, match="another run is writing"),
        Store.join(tmp_path),
    ):
        pass


def test_an_older_normlab_at_work_keeps_runs_out(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "lock"),  # as it holds the folder
        pytest.raises(UserError, match="another run is writing"),
        Store.join(tmp_path),
    ):
        pass


def test_nobody_comes_in_while_the_first_run_tidies_up(tmp_path: Path) -> None:
    with Store.join(tmp_path) as first:
        assert first.is_alone
        assert present(tmp_path) == {first.run}
        before = time.monotonic()
        with pytest.raises(UserError, match="another run is writing"), Store.write(tmp_path):
            pass
        assert time.monotonic() - before < 30
        first.let_in()
        with Store.join(tmp_path) as second:
            assert not second.is_alone
            assert not first.is_alone


def test_the_schema_is_raised_by_a_run_that_is_alone(tmp_path: Path) -> None:
    asset = Path(__file__).parent / "assets" / "schema-2.sqlite"
    (tmp_path / DATABASE).write_bytes(asset.read_bytes())
    with Store.join(tmp_path) as store:
        assert store.is_alone
        assert set(store.states(list(store.plan().trials)).values()) == {"complete"}
    Store.bring_up_to_date(tmp_path)
    with joined(tmp_path):  # current already: nobody needs to be alone for that
        Store.bring_up_to_date(tmp_path)


def stranger(store: Store, boot: str, host: str, age: float = 0.0) -> None:
    store._connection.execute(
        "INSERT INTO drivers VALUES ('0123456789abcdef', ?, ?, 1, NULL, 'then', ?, 0.0)",
        (boot, host, time.time() - age),
    )


def test_a_run_of_another_machine_keeps_runs_out(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        stranger(store, "another", "far")
    with (
        pytest.raises(UserError, match=r"machine 'far' is writing.*normlab merge"),
        joined(tmp_path),
    ):
        pass


@pytest.mark.parametrize(("host", "age"), [("far", 3600.0), (platform.node(), 0.0)])
def test_one_that_is_gone_or_was_before_this_machine_was_started_again_does_not(
    tmp_path: Path, host: str, age: float
) -> None:
    with Store.write(tmp_path) as store:
        stranger(store, "another", host, age)
    with joined(tmp_path) as joining:
        assert joining.others() == set()
        assert len(joining._all("SELECT * FROM drivers")) == 1


def test_the_last_one_to_leave_finds_nobody(runs: tuple[Store, Store]) -> None:
    one, other = runs
    one.claim(["a"])
    assert one.leave() == 1
    assert other.claim(["a"]) == {"a"}
    assert other.leave() == 0


def test_a_run_that_stands_still_is_not_waited_for_at_the_end(runs: tuple[Store, Store]) -> None:
    one, other = runs
    stand_still(one)
    assert other.leave() == 0


@pytest.mark.parametrize(
    ("trials", "outcome"),
    [("abc", "same"), ("ab", "part"), ("abcd", "more"), ("abd", "other")],
)
def test_plans_of_runs_that_share_a_folder(tmp_path: Path, trials: str, outcome: str) -> None:
    def plan(ids: str) -> object:
        return plan_of([{"label": i, "trials": [{"seed": 0, "id": i}]} for i in ids])

    with Store.join(tmp_path) as one, ExitStack() as stack:
        one.record_plan(plan("z"), [row("z")])  # type: ignore[arg-type]
        one.record_plan(plan("abc"), map(row, "abc"))  # type: ignore[arg-type]
        one.let_in()
        other = stack.enter_context(Store.join(tmp_path))
        if outcome == "other":
            with pytest.raises(UserError, match="another variant"):
                other.record_plan(plan(trials), map(row, trials))  # type: ignore[arg-type]
        else:
            other.record_plan(plan(trials), map(row, trials))  # type: ignore[arg-type]
        newest = "abcd" if outcome == "more" else "abc"
        assert set(one.plan().trials) == set(newest)
        one.leave()
        if outcome != "other":  # its plan is the one to go by now
            with pytest.raises(UserError, match="another variant"), Store.join(tmp_path) as third:
                third.record_plan(plan("z"), [row("z")])  # type: ignore[arg-type]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "finish", "fail", "release", "still", "beat", "kill"]),
        st.integers(0, 2),
        st.sets(st.sampled_from(IDS), min_size=1),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_no_trial_is_two_runs_and_none_is_finished_twice(
    steps: list[tuple[str, int, set[str]]],
) -> None:
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        stores = [stack.enter_context(joined(folder)) for _ in range(3)]
        owner: dict[str, int] = {}
        finished: set[str] = set()
        still: set[int] = set()
        for step, at, ids in steps:
            store, trial = stores[at], min(ids)
            if step == "claim":
                still.discard(at)
                free = {i for i in ids - finished if i not in owner or owner[i] in still}
                assert store.claim(sorted(ids)) == free
                owner |= dict.fromkeys(free, at)
            elif step in {"finish", "fail"}:
                try:
                    store.start(trial, {}, 0)
                    store.finish(trial, RESULT, []) if step == "finish" else store.fail(trial, "x")
                except TakenOverError:
                    assert owner.get(trial) != at
                else:
                    assert owner.pop(trial) == at
                    finished.add(trial)
            elif step == "release":
                store.release([trial])
                if owner.get(trial) == at:
                    del owner[trial]
                if store.states([trial])[trial] == "pending":
                    finished.discard(trial)  # a failed one that is to be trained again
            elif step == "still":
                stand_still(store)
                still.add(at)
            elif step == "beat":
                leases.beat(store._connection, store.run or "")
                still.discard(at)
            else:  # and another one comes
                store._shared.leave()  # type: ignore[union-attr]
                stores[at] = stack.enter_context(joined(folder))
                still.discard(at)
                owner = {i: its for i, its in owner.items() if its != at}
        raw = sqlite3.connect(folder / DATABASE)
        assert raw.execute("SELECT count(*) FROM leases").fetchone()[0] <= len(IDS)
        raw.close()


def test_a_run_s_files_are_no_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "run-0123456789abcdef.lock").symlink_to(victim)
    with pytest.raises(UserError, match="is a link"), Store.join(folder):
        pass
    assert victim.read_text() == "theirs"
    assert os.path.lexists(folder / "run-0123456789abcdef.lock")


def test_where_locks_cannot_be_shared_one_run_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "CAN_SHARE", False)
    with Store.join(tmp_path) as store:
        store.record_plan(plan_of(), map(row, IDS))
        store.let_in()
        assert (store.run, store.is_alone) == (None, True)
        assert store.claim(IDS) == set(IDS)
        with pytest.raises(UserError, match="another run is writing"), Store.join(tmp_path):
            pass
        store.start("a", {}, 0)
        store.add_epoch("a", record(1))
        store.finish("a", RESULT, [])
        store.sweep()
        assert store.leave() == 0
        assert store.held(["a"]) == {"a"}


def test_what_a_stranger_wrote_of_runs_is_no_error(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        store.record_plan(plan_of(), map(row, IDS))
        store._connection.execute(
            "INSERT INTO drivers VALUES ('../../x', 'b', ?, 'p', NULL, 'then', 'never', x'00')",
            ("h" * 1000,),
        )
        store._connection.execute("INSERT INTO leases VALUES ('a', '../../x')")
    with Store.read(tmp_path) as reader:
        assert reader.others() == set()
        assert reader.held(IDS) == set()
    with joined(tmp_path) as joining:
        assert joining.claim(IDS) == set(IDS)
