"""Images by import path in a study: identity, and the workers that train on them."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.study.own_images import BASE, edit, forget, lie_in

from normlab import data
from normlab.errors import UserError
from normlab.frames import load_frames
from normlab.recipe import trial_id
from normlab.store import Store
from normlab.study.engines import Faulted, Task
from normlab.study.engines.work import perform
from normlab.study.known_data import known_data
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    lie_in(tmp_path, monkeypatch)
    yield tmp_path
    forget(monkeypatch)


def planned(**values: Any) -> Plan:
    content = {"name": "own", "question": "?", "base": BASE, "seeds": 1, **values}
    return make_plan(Study.parse(content))


def ids(plan: Plan) -> list[str]:
    return [row.id for row in plan.rows()]


def with_options(**options: Any) -> dict[str, Any]:
    return {**BASE, "data": {"kind": "own_images:load", **options}}


def test_a_trial_s_id_is_of_the_images_and_of_the_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    (row,), (arm,) = plan.rows(), plan.arms
    assert list(arm.record.code) == ["own_images"]
    assert row.data_digest == data.describe(arm.recipe.data).digest
    assert row.id == trial_id(arm.recipe, 0, row.data_digest, plan.trials[row.id].code)
    edit(folder / "own_images.py", "def load", "# a comment\ndef load", monkeypatch)
    assert ids(planned()) == [row.id]
    edit(folder / "own_images.py", "(0, 60,", "(0, 50,", monkeypatch)
    (other,) = planned().rows()
    assert other.id != row.id
    assert other.data_digest != row.data_digest


def test_the_same_images_by_other_options_have_one_digest(folder: Path) -> None:
    one, other = planned(), planned(base=with_options(seed=0))
    assert one.rows()[0].data_digest == other.rows()[0].data_digest
    assert planned(base=with_options(seed=1)).rows()[0].data_digest != one.rows()[0].data_digest


def test_files_that_the_images_come_from_count_by_what_they_give(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "seed.txt").write_text("3")
    edit(
        folder / "own_images.py", "rng(seed)", "rng(int(Path('seed.txt').read_text()))", monkeypatch
    )
    first = planned()
    (folder / "seed.txt").write_text(" 3\n")
    forget(monkeypatch)
    assert ids(planned()) == ids(first)
    (folder / "seed.txt").write_text("4")
    forget(monkeypatch)
    assert ids(planned()) != ids(first)


def test_import_paths_among_its_options_count_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(folder / "own_images.py", "seed=0)", "seed=0, pick='')", monkeypatch)
    plan = planned(base=with_options(pick="own_pick:part"))
    assert list(plan.record.arms[0].code) == ["own_images", "own_pick"]


def test_in_a_session_other_code_of_a_helper_makes_the_images_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(
        folder / "own_images.py", "import numpy as np", "import numpy as np, own_pick", monkeypatch
    )
    edit(folder / "own_images.py", "(0, 60,", "(0, int(60 * own_pick.part),", monkeypatch)
    plan = planned()
    (first,) = plan.rows()
    assert list(plan.record.arms[0].code) == ["own_images", "own_pick"]
    (folder / "own_pick.py").write_text("part = 0.25  # of it\n")
    importlib.reload(sys.modules["own_pick"])  # the function itself stays the same object
    (second,) = planned().rows()
    assert second.data_digest != first.data_digest
    assert (folder / "CALLS").read_text() == "xxxx"


def test_arms_of_other_data_keep_their_ids(folder: Path) -> None:
    base = {key: value for key, value in BASE.items() if key != "data"}
    plan = planned(base=base, factors={"data": ["digits", "own_images:load"]})
    digits, own = plan.record.arms
    assert (digits.code, digits.class_names) == ({}, ())
    assert list(own.code) == ["own_images"]
    assert own.class_names == ("low", "middle", "high")
    (row, _) = plan.rows()
    assert row.id == trial_id(plan.arms[0].recipe, 0, row.data_digest)


def weights(runs: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in runs.rglob("weights.pt")}


def losses(runs: Path) -> dict[tuple[str, int], list[float]]:
    with Store.read(runs / "own") as store:
        epochs = load_frames(store).epochs
    return {key: list(rows["train_loss"]) for key, rows in epochs.groupby(["arm", "seed"])}


def test_two_workers_train_what_one_process_trains_to_the_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    plan = planned(seeds=2, factors={"norm": ["none", "layer"]})
    assert (folder / "CALLS").read_text() == "xx"  # and none for the second arm
    run_plan(plan, folder / "one", RunOptions(workers=1))
    assert (folder / "CALLS").read_text() == "xx"
    run_plan(plan, folder / "two", RunOptions(workers=2))
    assert (folder / "CALLS").read_text() == "xxxx"  # once in each worker
    one, two = weights(folder / "one"), weights(folder / "two")
    assert len(one) == 4
    assert one == two
    assert losses(folder / "one") == losses(folder / "two")


@pytest.mark.usefixtures("torch_path")  # in one group one process would read them
def test_workers_refuse_images_that_differ_from_process_to_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    edit(folder / "own_images.py", "rng(seed)", "rng(__import__('os').getpid())", monkeypatch)
    plan = planned(seeds=2)
    with pytest.raises(UserError, match="returned other images than when the study was planned"):
        run_plan(plan, folder / "runs", RunOptions(workers=2))
    with Store.read(folder / "runs" / "own") as store:
        assert set(store.states(ids(plan)).values()) == {"pending"}


def test_a_worker_that_is_given_other_images_does_not_train_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "seed.txt").write_text("3")
    edit(
        folder / "own_images.py", "rng(seed)", "rng(int(Path('seed.txt').read_text()))", monkeypatch
    )
    plan = planned()
    (trial,) = plan.trials.values()
    task = Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=0, folder=folder, code=trial.code)
    (folder / "seed.txt").write_text("4")
    forget(monkeypatch)
    *_, last = perform((task,), "cpu")
    assert isinstance(last, Faulted)
    assert last.reason.startswith(
        "data 'own_images:load' returned other images than when the study"
    )


def test_what_is_known_of_it_without_running_it(folder: Path) -> None:
    study = Study.parse({"name": "own", "question": "?", "base": BASE, "seeds": 1})
    assert known_data(study) == {"base": {}}
    chosen = study.vary(overrides={"data.classes": ["low", "high"]})
    assert known_data(chosen) == {"base": {"classes": 2}}
    assert not (folder / "CALLS").exists()
