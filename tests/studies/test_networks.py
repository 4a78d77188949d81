"""The sizes of networks that the sources state."""

import pytest

from normlab.data import describe
from normlab.models import build, layer_table
from normlab.study.plan import make_plan
from normlab.study.spec import Study


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mnist-l1-l2-gbn", 7_288),
        ("mnist-gbn-splits", 7_288),
        ("mnist-norms", 7_704),
        ("mnist-norms-60000", 7_704),
        ("mnist-norms-controlled", 7_704),
        ("mnist-norms-grid", 7_704),
    ],
)
def test_every_arm_has_the_source_s_number_of_parameters(name: str, count: int) -> None:
    assert {arm.parameters for arm in make_plan(Study.load(name)).record.arms} == {count}


def test_the_residual_net_has_14_layers_and_25_classes() -> None:
    recipe = make_plan(Study.load("resnet14-norms")).arms[0].recipe
    facts = describe(recipe.data)
    rows = layer_table(build(recipe, facts.shape, 25, device="meta").model, facts.shape)
    # 6n + 2: a stem, three stages of n = 2 blocks of two convolutions, a head.
    assert sum(row.kind in {"Conv2d", "Linear"} for row in rows) == 1 + 3 * 2 * 2 + 1 == 14
    assert facts.num_classes == 25


@pytest.mark.parametrize(
    ("slots", "count"), [(0, 23_509_770), (1, 23_517_322), (2, 23_524_874), (3, 23_555_082)]
)
def test_the_published_residual_net_keeps_norms_where_the_source_had_them(
    slots: int, count: int
) -> None:
    plan = make_plan(Study.load("resnet50-bn-dropout-batch256"))
    sizes = {arm.parameters for arm in plan.record.arms if arm.levels["model.norm_slots"] == slots}
    assert sizes == {count}


def test_without_norm_layers_the_controlled_net_has_none() -> None:
    plan = make_plan(Study.load("resnet50-bn-dropout-batch256-controlled"))
    recipe = next(arm.recipe for arm in plan.arms if arm.levels["model.norm_slots"] == 0)
    assert build(recipe, (3, 32, 32), 10, device="meta").norms == 0
