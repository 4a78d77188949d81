"""Every bundled study: a head that tells what to expect, claims that can be settled, a quick run."""

from functools import cache
from pathlib import Path

import pytest

from normlab.frames import claim_plans
from normlab.recipe import Recipe
from normlab.study import probing
from normlab.study.costs import costs_of
from normlab.study.files import bundled
from normlab.study.plan import Plan, make_plan
from normlab.study.spec import Study
from normlab.train.speed import Speed
from normlab.wording import OUT_OF_REACH

NAMES = tuple(bundled())
SOURCES = tuple(name for name in NAMES if name != "digits-norms")
TRIALS = {
    "digits-norms": (5, 3),
    "mnist-gbn-splits": (6, 5),
    "mnist-l1-l2-gbn": (6, 5),
    "mnist-l1-l2-grid": (3 * 3, 5),
    "mnist-norms": (7, 3),
    "mnist-norms-60000": (7, 3),
    "mnist-norms-controlled": (3 * 2 * 2, 5),
    "mnist-norms-grid": (48 + 4, 3),
    "resnet14-batch-size": (2 * 5 + 4, 3),
    "resnet14-norms": (7, 5),
    "resnet14-norms-cifar10": (7, 3),
    "resnet14-norms-controlled": (7 * 4, 3),
    "resnet14-norms-sgd": (6, 3),
    "resnet50-agc": (4 * (1 + 3) + 1, 5),
    "resnet50-agc-1epoch": (3 * 3, 4),
    "resnet50-agc-1epoch-controlled": (3 * 3 * (1 + 3), 4),
    "resnet50-agc-controlled": (4 * (1 + 3), 5),
    "resnet50-agc-optimizers": (2 * 2 * 2 * 2, 5),
    "resnet50-asymmetric-dropout": (1 + 9, 5),
    "resnet50-asymmetric-dropout-controlled": (1 + 9, 5),
    "resnet50-asymmetric-dropout-range": (16 + 2, 5),
    "resnet50-augmentation": (5, 3),
    "resnet50-augmentation-controlled": (6, 3),
    "resnet50-bn-dropout-batch256": (4 * (1 + 3), 5),
    "resnet50-bn-dropout-batch256-controlled": (4 * (1 + 3), 5),
    "resnet50-bn-dropout-batch64": (4 * (1 + 3 * 3), 3),
    "resnet50-bn-dropout-batch64-controlled": (4 * (1 + 3 * 3), 3),
    "resnet50-clip-batch": (4 * 3, 5),
    "resnet50-cutout-copies": (4, 3),
    "resnet50-cutout-copies-controlled": (6, 3),
    "resnet50-final": (8, 3),
    "resnet50-final-controlled": (8, 3),
}
"""Arms and seeds by hand."""

ROWS = {
    "mnist-norms": 7,
    "mnist-norms-60000": 7,
    "mnist-norms-grid": 48,
    "resnet14-batch-size": 4,
    "resnet14-norms": 7,
    "resnet14-norms-sgd": 2,
    "resnet50-agc": 4 + 16,
    "resnet50-agc-1epoch": 36,
    "resnet50-asymmetric-dropout": 9 + 1,
    "resnet50-augmentation": 5,
    "resnet50-bn-dropout-batch256": 16,
    "resnet50-bn-dropout-batch64": 40,
    "resnet50-cutout-copies": 4,
    "resnet50-final": 8,
}
"""Published rows: those of the sources' tables, and what is quoted beside them."""


@cache
def planned(name: str, quick: bool = False) -> Plan:
    study = Study.load(name)
    return make_plan(study.vary(quick=True) if quick else study)


def head(name: str) -> list[str]:
    lines = bundled()[name].read_text(encoding="utf-8").splitlines()
    return lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]


def images_trained(plan: Plan) -> int:
    """Images that all trials train on, over their epochs."""
    recipes = [arm.recipe for arm in plan.arms]
    return len(plan.study.seeds) * sum(recipe.epochs * images(recipe) for recipe in recipes)


def images(recipe: Recipe) -> int:
    from normlab.data import describe

    return describe(recipe.data).train_images


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_question_commands_and_expected_time(name: str) -> None:
    text = "\n".join(head(name))
    assert "?" in head(name)[0]
    assert f"#   normlab run {name}\n" in text or f"#   normlab run {name} " in text
    assert any(unit in text for unit in ("seconds", "minutes", "hour"))


@pytest.mark.parametrize("name", SOURCES)
def test_it_names_its_source_and_its_quick_run(name: str) -> None:
    text = " ".join(line.removeprefix("# ") for line in head(name))
    assert any(f"ource {letter}" in text for letter in "ABCD")
    assert f"normlab run {name} --quick" in text


@pytest.mark.parametrize("name", NAMES)
def test_it_plans_as_many_trials_as_counted_by_hand(name: str) -> None:
    plan = planned(name)
    assert (len(plan.arms), len(plan.study.seeds)) == TRIALS[name]
    assert len({row.id for row in plan.rows()}) == len(plan.rows())


@pytest.mark.parametrize("name", NAMES)
def test_some_outcome_would_settle_each_of_its_claims(name: str) -> None:
    plans = claim_plans(planned(name).record)
    assert not plans.loc[~plans["settles"].astype(bool), ["claim", "obstacle"]].to_dict("records")


@pytest.mark.parametrize("name", SOURCES)
def test_its_claims_quote_their_source(name: str) -> None:
    claims = Study.load(name).claims
    assert claims
    for claim in claims:
        assert claim.name
        assert claim.says
        assert claim.source
        assert claim.source.startswith("Source ")
        assert claim.confound or name.endswith("-controlled")


@pytest.mark.parametrize("name", NAMES)
def test_its_published_rows_are_all_there(name: str) -> None:
    rows = planned(name).record.published
    assert len(rows) == ROWS.get(name, len(rows))
    assert all(len(row.arms) == 1 for row in rows)


@pytest.mark.parametrize("name", SOURCES)
def test_its_quick_run_is_a_small_part_of_it(name: str) -> None:
    plan, quick = planned(name), planned(name, quick=True)
    assert len(quick.arms) > 1
    assert images_trained(quick) < images_trained(plan) / 50


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("resnet50-")])
def test_source_a_keeps_its_scaling_on_the_jpeg_copy(name: str) -> None:
    study = Study.load(name).model_copy(update={"factors": {}, "arms": [], "constraints": []})
    (arm,) = make_plan(study.vary(overrides={"data": "cifar10-jpeg"}, seeds=1)).arms
    assert arm.recipe.data.kind == "cifar10-jpeg"
    assert arm.recipe.data.options["scaling"] == "unit"


def test_the_clipping_study_shares_its_arms_with_the_grid_at_batch_256() -> None:
    grid = {row.id for row in planned("resnet50-bn-dropout-batch256").rows()}
    clipping = {row.id for row in planned("resnet50-agc").rows()}
    assert len(grid & clipping) == len(grid) == 16 * 5


@pytest.mark.parametrize("name", NAMES)
def test_operations_memory_and_hours_are_known_before_anything_was_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = Speed(start=1.0, fixed=0.01, image=0.001, evaluation=0.0005, batch=1000)
    monkeypatch.setattr(probing, "time_training", lambda *_, **__: speed)
    found = costs_of(planned(name), tmp_path / "runs")
    for arm, cost in zip(planned(name).arms, found.arm_costs, strict=True):
        # At least two operations for every parameter of a layer, forward and twice back.
        assert cost.flops is not None
        assert cost.flops > 5 * arm.parameters * arm.images * arm.recipe.epochs
        assert cost.peak_memory is not None
        assert cost.peak_memory > 8 * arm.parameters
    assert found.hours is not None
    assert found.hours == found.hours_left
    assert found.hours > 0
    needed = found.claims["seeds_needed"] <= OUT_OF_REACH
    assert (found.claims["hours"][needed] > 0).all()
    assert list(tmp_path.iterdir()) == []
