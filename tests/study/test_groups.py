"""Trials that train together: how units are made, and that each trial ends as it would alone."""

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests import stub_lanes

import normlab
from normlab.cli.summary import print_arms
from normlab.frames import arm_table
from normlab.reports import write_report
from normlab.reports.notices import shared_seconds
from normlab.reports.provenance import where_it_ran
from normlab.reports.typeset import arms_typeset
from normlab.store import Store
from normlab.study.engines import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    ProcessEngine,
    SerialEngine,
    Started,
    Unit,
    work,
)
from normlab.study.engines.again import halves
from normlab.study.events import EpochEnded, Event, RunBegan
from normlab.study.groups import TIMED, divide, is_timed, path_of, units_of
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, _tasks, run_plan
from normlab.study.spec import Study
from normlab.study.stored import frames_of

DATA = {"kind": "digits", "limit": 4, "test_limit": 2}


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[dict[int, int]]]:
    """What groups were trained: epochs behind each trial by its seed."""
    stub_lanes.install(monkeypatch)
    # A worker imports the stub: from where this process may have it by other means.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    path = tmp_path / "groups"
    monkeypatch.setenv("STUB_LOG", str(path))

    def groups() -> list[dict[int, int]]:
        lines = path.read_text().splitlines() if path.exists() else []
        return [{int(seed): done for seed, done in json.loads(line).items()} for line in lines]

    return groups


Log = Callable[[], list[dict[int, int]]]


def study(**values: Any) -> Study:
    base = {"data": DATA, "model": "digits-small", "norm": "batch", "epochs": 2, "batch_size": 20}
    return Study.parse({"name": "s", "question": "?", "base": base, "seeds": 4, **values})


def plan(**values: Any) -> Plan:
    return make_plan(study(**values))


def units(made: Plan, folder: Path, workers: int = 1) -> list[Unit]:
    tasks = _tasks(made, folder, set(made.trials))
    return units_of(tasks, "cpu", workers, timed=is_timed(made.study))


def ends(messages: Iterable[Message]) -> Mapping[str, Message]:
    """How each trial ended; each once."""
    found = [m for m in messages if isinstance(m, Ended | Failed | Faulted)]
    by_id = {message.trial_id: message for message in found}
    assert len(by_id) == len(found)
    return by_id


def weights(messages: Iterable[Message]) -> dict[str, str]:
    return {
        trial: end.result.weights_sha256
        for trial, end in ends(messages).items()
        if isinstance(end, Ended)
    }


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[Plan], dict[str, str]]:
    """The weights of a plan's trials, each trained by itself on torch's path."""

    def train(made: Plan) -> dict[str, str]:
        tasks = _tasks(made, tmp_path / "alone", set(made.trials))
        return weights(SerialEngine().run([(task,) for task in tasks]))

    return train


# -- which trials are a unit -------------------------------------------------------------------


def divided(counts: dict[str, int], workers: int) -> list[int]:
    """Sizes of the units of so many trials of each form; those of "-" train alone."""
    keys = [None if key == "-" else key for key, count in counts.items() for _ in range(count)]
    made = divide(
        keys, [1.0] * len(keys), workers, lambda at, trials: stub_lanes.gain(form_named(""), trials)
    )
    assert sorted(index for unit in made for index in unit) == list(range(len(keys)))
    for unit in made:
        assert len({keys[index] for index in unit}) == 1
        assert len(unit) == 1 or keys[unit[0]] is not None
    return [len(unit) for unit in made]


def form_named(name: str) -> Any:
    return stub_lanes.Form(name)


@pytest.mark.parametrize(
    ("counts", "workers", "sizes"),
    [
        ({}, 2, []),
        ({"a": 40}, 1, [16, 16, 8]),
        ({"a": 3}, 1, [3]),
        ({"a": 3}, 2, [3]),  # the smallest program has four lanes: nothing would end sooner
        ({"a": 16}, 2, [8, 8]),
        ({"a": 16}, 4, [4, 4, 4, 4]),
        ({"a": 16}, 9, [4, 4, 4, 4]),
        ({"a": 48}, 2, [16, 16, 8, 8]),
        ({"a": 32}, 2, [16, 16]),
        ({"a": 16, "b": 16}, 2, [16, 16]),
        ({"a": 5, "b": 2}, 1, [5, 2]),
        ({"-": 3, "a": 8}, 1, [1, 1, 1, 8]),
    ],
    ids=str,
)
def test_units_are_full_and_workers_end_together(
    counts: dict[str, int], workers: int, sizes: list[int]
) -> None:
    assert divided(counts, workers) == sizes


def test_no_more_trials_than_the_processor_has_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_lanes, "SIZE", 8)
    assert divided({"a": 20}, 1) == [8, 8, 4]


def test_a_group_takes_trials_of_all_arms_of_one_form_and_others_stay_alone(tmp_path: Path) -> None:
    made = plan(factors={"norm": ["batch", "none", "layer"], "lr": [0.1, 0.01]}, seeds=2)
    found = units(made, tmp_path)
    arms = [{task.recipe.norm.kind for task in unit} for unit in found]
    assert [len(unit) for unit in found] == [4, 4, 1, 1, 1, 1]
    assert arms[:2] == [{"batch"}, {"none"}]
    assert {task.recipe.lr for task in found[0]} == {0.1, 0.01}
    assert [unit[0].together for unit in found] == [True, True, False, False, False, False]


def test_other_images_are_another_unit(tmp_path: Path) -> None:
    made = plan(factors={"data.test_limit": [2, 3]}, seeds=2)
    assert [len(unit) for unit in units(made, tmp_path)] == [2, 2]


def test_the_path_does_not_depend_on_what_is_pending(tmp_path: Path) -> None:
    made = plan()
    (task, *_) = _tasks(made, tmp_path, set(made.trials))
    ((lone,),) = units_of([task], "cpu", 1, timed=False)
    assert lone.together


SOONER = {"kind": "faster", "arm": {"norm": "batch"}, "than": {"norm": "none"}, "target": 0.5}
BETTER = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}


@pytest.mark.parametrize(
    ("values", "timed"),
    [
        ({"claims": [BETTER]}, False),
        ({"claims": [SOONER]}, True),
        ({"claims": [{**SOONER, "clock": "examples"}]}, False),
        ({"claims": [{**BETTER, "metric": "seconds", "margin": "5 %"}]}, True),
        ({"claims": [BETTER], "analysis": {"metric": "seconds"}}, True),
        ({"claims": [{**SOONER, "clock": "examples"}], "analysis": {"metric": "seconds"}}, False),
        ({"claims": [BETTER], "analysis": {"alternatives": [{"metric": "seconds"}]}}, True),
        ({"analysis": {"metric": "seconds"}}, False),
    ],
    ids=str,
)
def test_a_study_with_a_claim_about_seconds_trains_its_trials_alone(
    tmp_path: Path, values: dict[str, Any], timed: bool
) -> None:
    made = plan(factors={"norm": ["batch", "none"]}, seeds=2, **values)
    assert is_timed(made.study) == timed
    assert {len(unit) for unit in units(made, tmp_path)} == ({1} if timed else {2})
    path = path_of(made.arms[0].recipe, "cpu", timed=timed)
    assert (path.form is None, path.why) == (timed, TIMED if timed else "")


def test_a_variant_without_the_arms_of_the_claim_is_timed_too() -> None:
    whole = study(factors={"norm": ["batch", "none"]}, claims=[SOONER])
    assert is_timed(whole.vary(overrides={"norm": "batch"}))


# -- what a unit does --------------------------------------------------------------------------


def test_each_trial_of_a_group_sends_what_it_sends_alone(
    tmp_path: Path, log: Log, alone: Callable[[Plan], dict[str, str]]
) -> None:
    made = plan()
    (unit,) = units(made, tmp_path)
    messages = list(work.perform(unit, "cpu"))
    assert log() == [{0: 0, 1: 0, 2: 0, 3: 0}]
    for task in unit:
        own = [m for m in messages if m.trial_id == task.trial_id]
        assert list(map(type, own)) == [Started, Placed, EpochTrained, EpochTrained, Ended]
        placed = own[1]
        assert isinstance(placed, Placed)
        assert placed.provenance["together"] == "4"
    epochs = [m.record.epoch for m in messages if isinstance(m, EpochTrained)]
    assert epochs == [1, 1, 1, 1, 2, 2, 2, 2]
    assert weights(messages) == alone(made)


def stopped_after(unit: Sequence[Any], epochs: int) -> None:
    """Train a unit until so many epochs of its trials have checkpoints."""
    messages = work.perform(tuple(unit), "cpu")
    for message in messages:
        if isinstance(message, EpochTrained):
            epochs -= 1
            if not epochs:
                break
    messages.close()  # type: ignore[attr-defined]


def test_a_trial_goes_on_with_other_companions_at_other_epochs(
    tmp_path: Path,
    log: Log,
    alone: Callable[[Plan], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "_WORTH_KEEPING", 0.0)  # last epochs have checkpoints, too
    made = plan()
    (unit,) = units(made, tmp_path)
    stopped_after(unit[:3], 5)  # two epochs of two trials, one of the third
    messages = list(work.perform(unit[1:], "cpu"))
    assert log() == [{0: 0, 1: 0, 2: 0}, {1: 2, 2: 1, 3: 0}]
    assert weights(messages).items() <= alone(made).items()
    assert set(weights(messages)) == {task.trial_id for task in unit[1:]}


def test_a_started_trial_keeps_its_path(tmp_path: Path, log: Log) -> None:
    made = plan()
    (unit,) = units(made, tmp_path)
    tasks = _tasks(made, tmp_path, set(made.trials))
    stopped_after(tasks[:1], 1)
    messages = list(work.perform(unit, "cpu"))
    assert log() == [{1: 0, 2: 0, 3: 0}]
    assert len(weights(messages)) == 4
    (started,) = (m for m in messages if isinstance(m, Started) and m.epochs)
    assert started.trial_id == unit[0].trial_id


def test_epochs_with_shared_seconds_do_not_count_where_trials_are_timed(tmp_path: Path) -> None:
    made = plan()
    (unit,) = units(made, tmp_path)
    stopped_after(unit, 4)
    (task, *_) = _tasks(made, tmp_path, set(made.trials))
    started, *_ = work.perform((task,), "cpu")
    assert isinstance(started, Started)
    assert (started.epochs, started.anew) == (
        0, "1 of 2 epochs were trained together with other trials",
    )  # fmt: skip


def test_one_that_raises_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("STUB_ENDS", "raise 2")
    (unit,) = units(plan(), tmp_path)
    found = ends(work.perform(unit, "cpu"))
    assert [type(found[task.trial_id]) for task in unit] == [Ended, Ended, Failed, Ended]
    failed = found[unit[2].trial_id]
    assert isinstance(failed, Failed)
    assert "Traceback" in failed.reason
    assert failed.reason.endswith("ZeroDivisionError: integer division or modulo by zero\n")
    assert len(log()) == 1


def test_what_ends_a_whole_group_fails_only_the_trial_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("STUB_ENDS", "group 2")
    (unit,) = units(plan(), tmp_path)
    found = ends(work.perform(unit, "cpu"))
    assert [type(found[task.trial_id]) for task in unit] == [Ended, Ended, Failed, Ended]
    assert log() == [{0: 0, 1: 0, 2: 0, 3: 0}, {0: 1}, {1: 1}, {2: 1}, {3: 1}]


def test_changed_images_are_a_fault_of_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "data_digest", lambda _: "other")
    (unit,) = units(plan(), tmp_path)
    found = ends(work.perform(unit, "cpu"))
    assert len(found) == 4
    for message in found.values():
        assert isinstance(message, Faulted)
        assert message.reason == "the images changed since the study was planned"
        assert not message.may_help_alone


# -- engines -----------------------------------------------------------------------------------


def test_a_unit_is_halved_as_often_as_it_can_be(tmp_path: Path) -> None:
    (unit,) = units(plan(seeds=5), tmp_path)
    first, second = halves(unit)
    assert (first, second) == (unit[:3], unit[3:])
    assert halves(unit[:1]) == [unit[:1]]


def test_without_memory_for_all_the_trials_train_in_smaller_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("STUB_ENDS", "memory 3")
    (unit,) = units(plan(seeds=5), tmp_path)
    found = ends(SerialEngine().run([unit]))
    assert [type(end) for end in found.values()] == [Ended] * 5
    assert list(map(len, log())) == [5, 5, 3, 2, 1, 2]


def test_without_memory_for_one_it_goes_back_to_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("STUB_ENDS", "memory 1")
    (unit,) = units(plan(seeds=2), tmp_path)
    found = ends(SerialEngine().run([unit]))
    assert [type(end) for end in found.values()] == [Faulted] * 2
    assert list(map(len, log())) == [2, 2, 1, 1]


def test_a_killed_worker_fails_no_trial_and_a_group_that_dies_twice_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("STUB_ENDS", "kill 3")  # by SIGKILL, after the first epoch of all
    (unit,) = units(plan(overrides={"epochs": 3}), tmp_path)
    messages = list(ProcessEngine(1).run([unit]))
    found = ends(messages)
    assert [type(end) for end in found.values()] == [Ended] * 4
    # Each life of a worker brought an epoch further, and none was trained twice.
    assert log() == [
        {0: 0, 1: 0, 2: 0, 3: 0},
        {0: 1, 1: 1, 2: 1, 3: 1},
        {0: 2, 1: 2},
        {2: 2, 3: 2},
    ]
    started = Counter(m.trial_id for m in messages if isinstance(m, Started))
    assert set(started.values()) == {3}


# -- whole runs --------------------------------------------------------------------------------


class Interrupting:
    """Ctrl-C after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs
        self.began: RunBegan | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self.began = event
        if isinstance(event, EpochEnded):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt


def test_two_workers_train_every_trial_once_and_an_interrupted_run_goes_on(
    tmp_path: Path, log: Log, alone: Callable[[Plan], dict[str, str]]
) -> None:
    made = plan(factors={"norm": ["batch", "layer"]}, seeds=4)
    listener = Interrupting(6)
    options = RunOptions(workers=2)
    assert run_plan(made, tmp_path, options, listener).interrupted
    assert listener.began is not None
    assert (listener.began.trials, listener.began.workers, listener.began.together) == (8, 2, 4)
    assert run_plan(made, tmp_path, options).counts == {"complete": 8}
    assert run_plan(made, tmp_path, options).trained == 0
    with Store.read(tmp_path / "s") as store:
        rows = store.rows("trials", list(made.trials))
        stored = {row["id"]: json.loads(row["result"])["weights_sha256"] for row in rows}
        epochs = store.rows("epochs", list(made.trials))
        places = {row["id"]: json.loads(row["provenance"]) for row in rows}
    assert stored == alone(made)
    assert len(epochs) == 16
    for trial in made.trials.values():
        together = {place.get("together") for place in places[trial.id]}
        assert (together == {None}) == (trial.arm.recipe.norm.kind == "layer")


def test_a_timed_study_takes_no_trial_over_that_trained_together(tmp_path: Path) -> None:
    run_plan(plan(factors={"norm": ["batch", "layer"]}, seeds=2), tmp_path)
    made = make_plan(
        study(
            name="timed",
            factors={"norm": ["batch", "layer"]},
            seeds=2,
            claims=[{**SOONER, "than": {"norm": "layer"}}],
        )
    )
    summary = run_plan(made, tmp_path)
    assert (summary.adopted, summary.trained) == ({"s": 2}, 2)
    with Store.read(tmp_path / "timed") as store:
        places = store.places(list(made.trials))
    assert not any("together" in place for its in places.values() for place in its)


def test_a_lost_file_is_made_again_on_the_path_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    made = plan(seeds=2)
    first, second = made.trials
    with monkeypatch.context() as without:
        without.setattr(stub_lanes, "form", lambda *_: "not yet")
        run_plan(plan(seeds=1), tmp_path)
    run_plan(made, tmp_path)
    assert log() == [{1: 0}]
    for trial in (first, second):
        (tmp_path / "s" / "artifacts" / trial / "weights.pt").unlink()
    summary = run_plan(made, tmp_path, RunOptions(retrain_lost=True))
    assert summary.mended == {first: True, second: True}
    assert log() == [{1: 0}, {1: 0}]


def test_every_table_says_where_seconds_are_shares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sooner = {**SOONER, "than": {"norm": "layer"}}
    run_plan(plan(factors={"norm": ["batch", "layer"]}, seeds=2), tmp_path)
    folder = tmp_path / "s"
    frames = frames_of(folder)
    table = arm_table(frames).set_index("arm")["together"]
    assert dict(table) == {"batch": 2, "layer": 1}
    page = html.unescape(write_report(folder).read_text())
    rows = re.findall(r"<tr>.*?</tr>", page, re.S)
    assert [" *" in row for row in rows if "arm-1" in row] == [True]
    assert [" *" in row for row in rows if "arm-2" in row] == [False]
    assert page.count("* share of a group's time") == 2
    assert pd.read_csv(folder / "tables" / "trials.csv")["together"].tolist() == [2, 2, 1, 1]
    assert set(pd.read_csv(folder / "tables" / "times.csv")["together"]) == {1, 2}
    typeset = arms_typeset(frames).markdown()
    assert "Training seconds (\\* share of a group's time)" in typeset
    assert [row.count("\\*") for row in typeset.splitlines()[2:]] == [1, 0]
    print_arms(normlab.results("s", runs=tmp_path))
    shown = capsys.readouterr().out
    assert "* share of a group's time" in shown
    (place,) = where_it_ran(frames)
    assert (place["trials"], place["together"]) == (4, 2)
    assert list(shared_seconds(frames)) == []
    timed = make_plan(study(factors={"norm": ["batch", "layer"]}, seeds=2, claims=[sooner]))
    (notice,) = shared_seconds(replace(frames, plan=timed.record))
    assert "some trials of batch trained together" in notice
