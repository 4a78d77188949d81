"""The code of an own model or norm is part of its trials' ids, and of nobody else's."""

import sys
from pathlib import Path
from typing import Any

import pytest

from normlab.errors import UserError
from normlab.recipe import Recipe, trial_id
from normlab.study.engines import Ended, Faulted, Task
from normlab.study.engines.work import perform
from normlab.study.model_look import _built
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from normlab.study.stored import counted_code

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.f(x).mean((2, 3)))
"""
NORM = "from normlab.norms import LayerNorm\n\n\nclass Own(LayerNorm):\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_net.py").write_text(NET)
    (tmp_path / "own_norm.py").write_text(NORM)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that is new."""
    for name in ("own_net", "own_norm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("normlab.study.own._loaded", {})
    _built.cache_clear()


def planned(**values: Any) -> Plan:
    base = {"data": "digits", "model": "own_net:Net", "epochs": 1}
    content = {"name": "own", "question": "?", "base": base, "seeds": 1, **values}
    return make_plan(Study.parse(content))


def ids(plan: Plan) -> list[str]:
    return [row.id for row in plan.rows()]


def edit(path: Path, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    forget(monkeypatch)


def test_a_change_of_the_code_makes_new_trials_and_a_comment_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids(planned())
    edit(folder / "own_net.py", "class Net", "# of mine\nclass Net", monkeypatch)
    assert ids(planned()) == first
    edit(folder / "own_net.py", "nn.ReLU()", "nn.Tanh()", monkeypatch)
    second = ids(planned())
    assert second != first
    edit(folder / "own_net.py", "nn.Tanh()", "nn.ReLU()", monkeypatch)
    assert ids(planned()) == first


def test_an_own_norm_counts_likewise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 1, "norm": "own_norm:Own"}
    plan = planned(base=base)
    assert list(plan.record.arms[0].code) == ["own_norm"]
    edit(folder / "own_norm.py", "    pass", "    eps = 1.0", monkeypatch)
    assert ids(planned(base=base)) != ids(plan)


def test_import_paths_among_the_options_count_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def net(width: int) -> str:
        return NET.replace("width=4", f"width={width}, block=None")

    (folder / "own_net.py").write_text(net(4))
    base = {"data": "digits", "model": {"kind": "own_net:Net", "block": "own_norm:Own"}}
    assert list(planned(base={**base, "epochs": 1}).record.arms[0].code) == ["own_net", "own_norm"]


def test_the_names_of_an_entry_point_lead_to_its_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("short", "own_net:Net", "normlab.models")]
    monkeypatch.setattr(
        "normlab.own.entry_points", lambda group: points if group == "normlab.models" else []
    )
    plan = planned(base={"data": "digits", "model": "short", "epochs": 1})
    assert list(plan.record.arms[0].code) == ["own_net"]


def test_trials_without_own_code_have_the_ids_they_had(folder: Path) -> None:
    plan = planned(factors={"model": ["digits-small", "own_net:Net"]})
    (row, own) = plan.rows()
    recipe = Recipe.parse(row.recipe)
    assert row.id == trial_id(recipe, 0, row.data_digest)
    assert own.id != trial_id(Recipe.parse(own.recipe), 0, own.data_digest)
    assert plan.record.arms[0].code == {}
    assert list(plan.record.arms[1].code) == ["own_net"]


def test_files_that_the_study_names_count_where_there_is_own_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "table.txt").write_text("1 2 3")
    factors = {"model": ["digits-small", "own_net:Net"]}
    first = planned(code=["table.txt"], factors=factors)
    assert set(first.record.arms[1].code) == {"own_net", "file table.txt"}
    (folder / "table.txt").write_text("1 2 4")
    forget(monkeypatch)
    second = planned(code=["table.txt"], factors=factors)
    assert ids(first)[0] == ids(second)[0]
    assert ids(first)[1] != ids(second)[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"code": ["gone.py"]}, "code: there is no gone.py"),
        ({"code": ["."]}, "code: . is no file"),
        ({"code": ["a\0b"]}, "code: there is no a"),
        ({"code": ["~nobody-of-this-name/x"]}, "code: ~nobody-of-this-name/x cannot be read"),
        (
            {"code": ["own_net.py"], "base": {"data": "digits", "model": "digits-small"}},
            r"code is \['own_net.py'\]: no arm has own data, an own model or norm",
        ),
        ({"code": [3]}, "code.0 is 3"),
    ],
)
def test_a_mistake_in_code_is_named(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(**values)


def test_the_plan_says_what_counts_and_what_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    counts, new = counted_code(plan, folder / "runs")
    assert counts == ["the code of own_net is part of the trials' ids (base)"]
    assert new == []
    run_plan(plan, folder / "runs")
    assert counted_code(plan, folder / "runs")[1] == []
    edit(folder / "own_net.py", "nn.ReLU()", "nn.Tanh()", monkeypatch)
    (says,) = counted_code(planned(), folder / "runs")[1]
    assert says.startswith("changed since the last run: own_net. Its trials are new ones (base)")


def test_code_edited_while_trials_run_changes_none_of_them(folder: Path) -> None:
    plan = planned(seeds=1)
    (folder / "own_net.py").write_text(NET.replace("ReLU", "Tanh"))
    assert run_plan(plan, folder / "runs").counts == {"complete": 1}


def test_a_worker_that_finds_other_code_than_planned_does_not_train_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    trial = next(iter(plan.trials.values()))
    task = Task(
        trial_id=trial.id,
        recipe=trial.arm.recipe,
        seed=trial.seed,
        folder=folder,
        code=trial.code,
    )
    edit(folder / "own_net.py", "nn.ReLU()", "nn.Tanh()", monkeypatch)
    *_, last = perform((task,), "cpu")
    assert isinstance(last, Faulted)  # no fault of the trial's
    assert "the code of the data, model or norm changed since the plan" in last.reason
    edit(folder / "own_net.py", "nn.Tanh()", "nn.ReLU()", monkeypatch)
    *_, last = perform((task,), "cpu")
    assert isinstance(last, Ended)


def test_a_module_edited_in_a_session_is_refused_before_old_code_trains(folder: Path) -> None:
    planned()
    (folder / "own_net.py").write_text(NET.replace("ReLU", "Tanh"))
    with pytest.raises(UserError, match="'own_net' was changed after Python had loaded it"):
        planned()
