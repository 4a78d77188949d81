"""What a plan costs whose trials train together."""

from pathlib import Path
from typing import Any

import pytest
from tests import stub_lanes

from normlab.study import costs as costing
from normlab.study import groups, probing
from normlab.study.costs import Costs, costs_of
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from normlab.train.speed import Speed

SPEED = Speed(start=1.0, fixed=0.01, image=0.001, evaluation=0.0005, batch=10**6)


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_lanes.install(monkeypatch)
    monkeypatch.setattr(probing, "time_training", lambda *_, **__: SPEED)
    monkeypatch.setattr(costing, "worker_count", lambda **_: 2)


def plan(**values: Any) -> Plan:
    data = {"kind": "digits", "limit": 10, "test_limit": 5}
    base = {"data": data, "model": "digits-small", "epochs": 3, "batch_size": 40}
    factors = {"norm": ["none", "layer"]}
    content = {"name": "s", "question": "?", "base": base, "factors": factors, "seeds": 16}
    return make_plan(Study.parse({**content, **values}))


def seconds(steps: float) -> float:
    """Of a trial whose steps are so many times as fast; evaluation stays as it is."""
    return 1 + 3 * ((3 * 0.01 + 90 * 0.001) / steps + 60 * 0.0005) + 90 * 0.0005


def test_hours_are_those_of_groups_as_two_workers_share_them(tmp_path: Path) -> None:
    none, layer = costs_of(plan(), tmp_path).arm_costs
    # 16 trials of one form beside 16 that train alone: no split would end sooner.
    assert (none.together, none.alone) == (16, "")
    assert none.hours == pytest.approx(seconds(stub_lanes.GAINS[16]) / 3600)
    assert (layer.together, layer.alone) == (1, "no lanes for layer norm")
    assert layer.hours == pytest.approx(seconds(1.0) / 3600)
    assert none.images_per_second == pytest.approx(40 * stub_lanes.GAINS[16] / 0.05)


def test_a_lone_group_is_divided_between_the_workers(tmp_path: Path) -> None:
    (none,) = costs_of(plan(factors={"norm": ["none"]}), tmp_path).arm_costs
    (lone,) = costs_of(plan(factors={"norm": ["none"]}, seeds=1), tmp_path).arm_costs
    assert (none.together, lone.together) == (8, 1)
    assert (none.peak_memory or 0) > (lone.peak_memory or 0) > 0
    assert none.hours == pytest.approx(seconds(stub_lanes.GAINS[8]) / 3600)


def test_a_timed_study_costs_what_trials_alone_cost(tmp_path: Path) -> None:
    claim = {
        "kind": "faster",
        "arm": {"norm": "none"},
        "than": {"norm": "layer"},
        "target": 0.5,
    }
    none, layer = costs_of(plan(claims=[claim]), tmp_path).arm_costs
    assert none.hours == layer.hours
    assert {none.alone, layer.alone} == {groups.TIMED}


def step_seconds(costs: Costs) -> list[float]:
    return [40 / (arm.images_per_second or 0) for arm in costs.arm_costs]


def test_stored_shares_are_those_of_another_group_by_the_gains(tmp_path: Path) -> None:
    run_plan(plan(factors={"norm": ["none"]}, seeds=4), tmp_path)
    four = costs_of(plan(factors={"norm": ["none"]}, seeds=4), tmp_path)
    many = costs_of(plan(factors={"norm": ["none"]}, seeds=36), tmp_path)
    assert [arm.speed for arm in (*four.arm_costs, *many.arm_costs)] == ["stored", "stored"]
    assert [arm.together for arm in (*four.arm_costs, *many.arm_costs)] == [4, 16]
    (of_four,), (of_many,) = step_seconds(four), step_seconds(many)
    ratio = stub_lanes.GAINS[16] / stub_lanes.GAINS[4]
    assert of_four / of_many == pytest.approx(ratio)
