"""What of freed memory goes back between trials."""

import gc
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from normlab.study.engines import work
from normlab.study.engines.engine import Ended, Failed, Task
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train import give_back_memory
from normlab.train.loop import Trainer


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Told whenever torch is asked to give back memory, on a machine that seems to have a GPU."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    return calls


def test_a_gpu_gets_its_memory_back_and_a_cpu_keeps_it(emptied: list[str]) -> None:
    give_back_memory("cpu")
    assert emptied == []
    give_back_memory("cuda")
    give_back_memory("cuda:1")
    assert emptied == ["emptied"] * 2


def test_a_gpu_that_was_never_used_is_left_alone(
    emptied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    give_back_memory("cuda")
    assert emptied == []


def task(folder: Path) -> Task:
    base = {"data": "digits", "data.limit": 5, "model": "digits-small", "epochs": 1}
    plan = make_plan(Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1}))
    (trial,) = plan.trials.values()
    return Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=folder)


def trainers() -> int:
    gc.collect()
    return sum(type(thing) is Trainer for thing in gc.get_objects())


def test_it_is_given_back_after_each_trial_when_its_model_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, int]] = []
    before = trainers()
    monkeypatch.setattr(work, "give_back_memory", lambda on: found.append((on, trainers())))
    for message in work.perform((task(tmp_path),), "cpu"):
        last = message
        assert found == []
    assert isinstance(last, Ended)
    assert found == [("cpu", before)]


def test_it_is_given_back_after_a_failure_and_a_stop_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(work, "give_back_memory", found.append)
    stopped = work.perform((task(tmp_path / "a"),), "cpu")
    assert isinstance(stopped, Generator)
    next(stopped)
    stopped.close()
    assert found == ["cpu"]

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(work, "train", broken)
    *_, last = work.perform((task(tmp_path / "b"),), "cpu")
    assert isinstance(last, Failed)
    assert found == ["cpu"] * 2
