"""What a plan costs: from stored trials, from a probe, from other arms' speeds."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import normlab
from normlab.errors import UserError
from normlab.norms import kernels
from normlab.store import DATABASE
from normlab.study import costs as costing
from normlab.study import probing
from normlab.study.costs import Costs, costs_of
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from normlab.train.speed import Speed

pytestmark = pytest.mark.usefixtures("torch_path")

SPEED = Speed(start=1.0, fixed=0.01, image=0.001, evaluation=0.0005, batch=10**6)


def plan(**values: Any) -> Plan:
    data = {"kind": "digits", "limit": 10, "test_limit": 5}
    base = {"data": data, "model": "digits-small", "epochs": 3, "batch_size": 40}
    factors = {"norm": ["none", "batch"]}
    content = {"name": "s", "question": "?", "base": base, "factors": factors, "seeds": 2}
    return make_plan(Study.parse({**content, **values}))


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every arm that is timed has the same speed; the norms that were timed."""
    seen = []

    def time_training(recipe: Any, *_: object, **__: object) -> Speed:
        seen.append(recipe.norm.kind)
        return SPEED

    monkeypatch.setattr(probing, "time_training", time_training)
    return seen


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_training(*_: object, **__: object) -> Speed:
        pytest.fail("an arm was timed")

    monkeypatch.setattr(probing, "time_training", time_training)


def sources(found: Costs) -> list[str | None]:
    return [arm.speed for arm in found.arm_costs]


def test_a_trial_s_hours_are_its_steps_and_its_evaluations(
    timed: list[str], tmp_path: Path
) -> None:
    found = costs_of(plan(), tmp_path)
    # 100 images, 10 of them for validation: 3 steps an epoch; 50 are tested.
    seconds = 1 + 3 * (3 * 0.01 + 90 * 0.001 + 60 * 0.0005) + 90 * 0.0005
    for arm in found.arm_costs:
        assert arm.hours == pytest.approx(seconds / 3600)
        assert arm.images_per_second == pytest.approx(40 / (0.01 + 40 * 0.001))
    assert found.hours == pytest.approx(4 * seconds / 3600)
    assert found.flops == 4 * (found.arm_costs[0].flops or 0)


def test_arms_that_differ_in_nothing_that_takes_time_are_timed_once(
    timed: list[str], tmp_path: Path
) -> None:
    found = costs_of(plan(factors={"norm": ["none", "batch"], "lr": [0.1, 0.01]}), tmp_path)
    assert sorted(timed) == ["batch", "none"]
    assert sources(found) == ["probe"] * 4


def test_a_real_probe_takes_seconds_and_writes_nothing(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    found = normlab.costs(plan(), runs=tmp_path)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    assert sources(found) == ["probe", "probe"]
    assert all((arm.images_per_second or 0) > 0 for arm in found.arm_costs)
    assert found.probe_seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_without_time_one_arm_speaks_for_all_by_its_operations(tmp_path: Path) -> None:
    made = plan(factors={"model.width": [4, 8, 12]}, base={
        "data": {"kind": "digits", "limit": 10}, "model": {"kind": "resnet", "n": 1}, "epochs": 1,
    })  # fmt: skip
    found = costs_of(made, tmp_path, seconds=0.0)
    first, *others = found.arm_costs
    assert first.speed == "probe"
    for arm in others:
        assert (arm.speed, arm.speed_of, arm.speed_is) == ("scaled", first.arm, "probe")
        assert first.step_flops_per_image
        assert arm.step_flops_per_image
        assert first.images_per_second
        assert arm.images_per_second == pytest.approx(
            first.images_per_second * first.step_flops_per_image / arm.step_flops_per_image
        )


def test_the_most_different_arms_are_timed_first(timed: list[str], tmp_path: Path) -> None:
    factors = {"norm": ["batch", {"kind": "batch", "momentum": 0.3}, "layer"]}
    costs_of(plan(factors=factors), tmp_path)
    assert timed == ["batch", "layer", "batch"]


def test_without_a_probe_hours_are_unknown_and_the_rest_is_not(
    no_clock: None, tmp_path: Path
) -> None:
    found = costs_of(plan(), tmp_path, probing=False)
    assert sources(found) == [None, None]
    assert found.hours is None
    assert found.hours_left is None
    assert found.flops is not None
    assert all(arm.flops and arm.peak_memory and arm.hours is None for arm in found.arm_costs)


def test_stored_trials_of_this_machine_are_believed_before_a_probe(
    no_clock: None, tmp_path: Path
) -> None:
    made = plan()
    run_plan(made, tmp_path)
    found = costs_of(made, tmp_path)
    assert sources(found) == ["stored", "stored"]
    epochs = normlab.results("s", runs=tmp_path).epochs
    for arm in found.arm_costs:
        seconds = epochs.loc[epochs["arm"] == arm.arm, "seconds"].mean()
        assert arm.images_per_second == pytest.approx(90 / seconds)
        # Evaluation is not stored: its share of the operations is taken.
        assert arm.hours is not None
        assert 3 * seconds < 3600 * arm.hours < 6 * seconds
    assert found.hours is not None
    assert found.hours > 0
    assert found.hours_left == 0
    assert found.probe_seconds == 0


def test_arms_without_stored_trials_are_timed_or_scaled_from_the_stored(
    timed: list[str], tmp_path: Path
) -> None:
    run_plan(plan(factors={"norm": ["none"]}), tmp_path)
    made = plan()
    found = costs_of(made, tmp_path)
    assert timed == ["batch"]
    assert sources(found) == ["stored", "probe"]
    scaled = costs_of(made, tmp_path, probing=False).arm_costs[1]
    assert (scaled.speed, scaled.speed_of, scaled.speed_is) == ("scaled", "none", "stored")
    left = found.trials_left
    assert left == {"none": 0, "batch": 2}


@pytest.mark.parametrize("other", [{"chip": "Cray-1"}, {"threads": 2}], ids=str)
def test_trials_of_another_machine_are_called_so_and_a_probe_comes_before_them(
    other: dict[str, object], timed: list[str], tmp_path: Path
) -> None:
    made = plan()
    run_plan(made, tmp_path)
    with sqlite3.connect(tmp_path / "s" / DATABASE) as raw:
        for trial, text in raw.execute("SELECT id, provenance FROM trials").fetchall():
            places = json.dumps([{**place, **other} for place in json.loads(text)])
            raw.execute("UPDATE trials SET provenance = ? WHERE id = ?", (places, trial))
    raw.close()
    found = costs_of(made, tmp_path, probing=False)
    assert sources(found) == ["elsewhere", "elsewhere"]
    place = found.arm_costs[0].place
    assert place == {"device": "cpu", "chip": found.chip, "threads": 1, **other}
    assert found.hours is not None
    assert sources(costs_of(made, tmp_path)) == ["probe", "probe"]


CLAIM = {
    "kind": "better", "name": "helps", "arm": {"norm": "batch"}, "over": {"norm": "none"},
    "margin": 1,
}  # fmt: skip


def test_a_claim_costs_the_seeds_that_its_arms_still_need(timed: list[str], tmp_path: Path) -> None:
    made = plan(
        claims=[CLAIM], analysis={"spread": 1}, factors={"norm": ["none", "batch", "layer"]}
    )
    found = costs_of(made, tmp_path)
    (row,) = found.claims.to_dict("records")
    hours = found.arm_costs[0].hours
    assert hours is not None
    assert row["seeds_needed"] > 2
    assert row["hours"] == pytest.approx(2 * row["seeds_needed"] * hours)


def test_what_a_claim_has_already_costs_nothing_more(timed: list[str], tmp_path: Path) -> None:
    made = plan(claims=[CLAIM], analysis={"spread": 1})
    run_plan(made, tmp_path)
    planned = pd.DataFrame({"claim": ["helps"], "seeds_needed": [5]})
    found = costs_of(made, tmp_path, claims=planned)
    hours = sum(arm.hours or 0 for arm in found.arm_costs)
    assert found.claims["hours"].item() == pytest.approx((5 - 2) * hours)
    planned["seeds_needed"] = 1
    assert costs_of(made, tmp_path, claims=planned).claims["hours"].item() == 0


def test_a_claim_whose_seeds_are_not_known_has_no_hours(timed: list[str], tmp_path: Path) -> None:
    found = costs_of(plan(claims=[CLAIM]), tmp_path)
    assert found.claims["hours"].isna().all()


def test_a_model_that_fails_in_training_is_not_timed_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def time_training(*_: object, **__: object) -> Speed:
        raise RuntimeError("no such thing\nand more")

    monkeypatch.setattr(probing, "time_training", time_training)
    found = costs_of(plan(), tmp_path)
    assert found.not_timed == dict.fromkeys(("none", "batch"), "RuntimeError: no such thing")
    assert found.hours is None


def test_what_does_not_fit_into_memory_is_not_tried(
    no_clock: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(costing, "free_memory", lambda device: 1000)
    found = costs_of(plan(), tmp_path)
    assert set(found.not_timed.values()) == {"it may not fit into the memory that is free"}
    assert found.flops is not None


def test_a_step_that_takes_minutes_is_not_tried(
    no_clock: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probing, "_MOST", {"cpu": 1.0, "cuda": 1.0})
    found = costs_of(plan(), tmp_path)
    assert set(found.not_timed.values()) == {"a single step takes too long for a probe"}


def test_a_probe_compiles_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NORMLAB_BACKEND", raising=False)
    monkeypatch.setattr(kernels, "is_prepared", lambda x: False)
    seen = []

    def time_training(*_: object, **__: object) -> Speed:
        seen.append(kernels.choose(torch.empty(2, 3, 4, 4)).NAME)
        return SPEED

    monkeypatch.setattr(probing, "time_training", time_training)
    found = costs_of(plan(), tmp_path)
    assert found.plain_norms
    assert set(seen) == {"reference"}
    assert kernels.choose(torch.empty(2, 3, 4, 4)).NAME != "reference"


def test_a_step_that_was_timed_at_one_size_grows_as_the_nearest_arm_s() -> None:
    expected = replace(SPEED, fixed=0.2, image=0.01)
    timed_at_ten = replace(SPEED, fixed=0.0, image=0.06, batch=10)  # 0.6 s; 0.3 s were expected
    found = probing._on_the_line(timed_at_ten, expected, 100)
    assert found.step(10) == pytest.approx(0.6)
    assert (found.fixed, found.image) == pytest.approx((0.4, 0.02))


def test_a_study_that_cannot_be_planned_says_why(tmp_path: Path) -> None:
    study = Study.parse({
        "name": "s", "question": "?", "seeds": 1,
        "base": {"data": "digits", "model": "resnet50-as-published", "norm": "instance"},
    })  # fmt: skip
    with pytest.raises(UserError, match="cannot take"):
        normlab.costs(study, runs=tmp_path)


def test_costs_show_themselves(timed: list[str], tmp_path: Path) -> None:
    found = costs_of(plan(), tmp_path)
    assert repr(found).startswith("<Costs of s: 0.0")
    assert found.arms["arm"].tolist() == ["none", "batch"]
    assert "probe" in found._repr_html_()
