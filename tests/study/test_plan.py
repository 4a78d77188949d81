from typing import Any

import pytest

from normlab.errors import UserError
from normlab.study.plan import Plan, make_plan
from normlab.study.spec import Study

BASE = {"data": "digits", "model": "digits-small", "epochs": 2}


def study(**values: Any) -> Study:
    return Study.parse({"name": "s", "question": "?", "base": BASE, "seeds": 2, **values})


def labels(plan: Plan) -> list[str]:
    return [arm.label for arm in plan.arms]


def test_a_grid_is_the_product_of_its_factors() -> None:
    plan = make_plan(study(factors={"norm": ["batch", "layer"], "lr": [0.1, 0.2]}))
    assert labels(plan) == [
        "norm=batch, lr=0.1", "norm=batch, lr=0.2", "norm=layer, lr=0.1", "norm=layer, lr=0.2",
    ]  # fmt: skip
    assert [row.seed for row in plan.rows()] == [0] * 4 + [1] * 4


def test_one_factor_labels_its_arms_by_level() -> None:
    levels = ["batch", {"kind": "group", "groups": 4}, {"kind": "group", "groups": 8}]
    assert labels(make_plan(study(factors={"norm": levels}))) == [
        "batch",
        "group(groups=4)",
        "group(groups=8)",
    ]
    assert labels(make_plan(study(factors={"norm": levels[:2]}))) == ["batch", "group"]


def test_a_study_without_factors_has_its_base_as_the_only_arm() -> None:
    assert labels(make_plan(study())) == ["base"]


def test_arms_can_be_written_out_beside_a_grid() -> None:
    arms = [{"label": "slow layer", "set": {"norm": "layer", "lr": 0.001}}]
    plan = make_plan(study(factors={"norm": ["batch"]}, arms=arms))
    assert labels(plan) == ["batch", "slow layer"]
    assert plan.arms[1].recipe.lr == 0.001
    assert labels(make_plan(study(arms=arms))) == ["slow layer"]


def test_excluded_cells_are_left_out() -> None:
    plan = make_plan(
        study(
            factors={"norm": ["batch", "layer"], "batch_size": [2, 32, 64]},
            constraints=[{"exclude": {"norm": "batch", "batch_size": [2, 32]}}],
        )
    )
    assert len(plan.arms) == 4
    assert "norm=batch, batch_size=64" in labels(plan)


def test_a_nested_factor_varies_only_within() -> None:
    plan = make_plan(
        study(
            factors={"norm": ["none", "batch"], "norm.momentum": [0.1, 0.2]},
            constraints=[{"nest": "norm.momentum", "within": {"norm": "batch"}}],
        )
    )
    assert labels(plan) == [
        "norm=none",
        "norm=batch, norm.momentum=0.1",
        "norm=batch, norm.momentum=0.2",
    ]


def test_a_bare_kind_names_every_level_of_it() -> None:
    levels = ["layer", {"kind": "batch", "momentum": 0.2}]
    constraints = [{"exclude": {"norm": "batch", "batch_size": 2}}]
    plan = make_plan(
        study(factors={"norm": levels, "batch_size": [2, 64]}, constraints=constraints)
    )
    assert len(plan.arms) == 3


def test_an_override_of_the_outer_factor_keeps_the_nested_one() -> None:
    varied = study(
        factors={"norm": ["none", "batch"], "norm.momentum": [0.3, 0.4]},
        constraints=[{"nest": "norm.momentum", "within": {"norm": "batch"}}],
    )
    fixed = make_plan(varied.vary(overrides={"norm": "batch"}))
    assert [arm.recipe.norm.options["momentum"] for arm in fixed.arms] == [0.3, 0.4]
    nested = make_plan(varied.vary(overrides={"norm.momentum": 0.5}))
    assert labels(nested) == ["none", "batch"]
    assert nested.arms[1].recipe.norm.options["momentum"] == 0.5


def test_levels_of_different_types_are_different() -> None:
    with pytest.raises(UserError, match="batch_size is True"):
        make_plan(study(factors={"batch_size": [1, True]}))


def test_a_last_batch_of_one_that_a_norm_cannot_take_is_refused() -> None:
    base = {**BASE, "data": "mnist", "model": "mnist-7704", "batch_size": 33, "validation": 59_900}
    with pytest.raises(UserError, match=r"layer 'norm7' cannot take a batch of one map of 16x1x1"):
        make_plan(study(base=base))


def test_group_norm_with_one_value_per_group_is_refused() -> None:
    norm = {"kind": "group", "groups": 32}
    base = {**BASE, "data": "mnist", "model": "mnist-7704", "norm": norm}
    with pytest.raises(UserError, match=r"layer 'norm7'.*one value per group"):
        make_plan(study(base=base))


PUBLISHED = {**BASE, "data": "mnist", "model": "resnet50-as-published"}


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        ("instance", "needs more than 1 spatial element"),
        ("batch_instance", "needs more than 1 spatial element"),
        ("torch_instance", "more than 1 spatial element"),
        ({"kind": "group", "groups": 2048}, "one value per group"),
        ({"kind": "torch_group", "groups": 2048}, "one value per group"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_norm_that_cannot_stand_on_the_last_maps_is_refused_with_the_place(
    norm: object, reason: str
) -> None:
    place = r"layer 'stage4\.block1\.branch\.norm1' cannot take a map of 512x1x1"
    with pytest.raises(UserError, match=f"{place}.*{reason}"):
        make_plan(study(base={**PUBLISHED, "norm": norm}))


@pytest.mark.parametrize("norm", ["batch", "layer", "rms", {"kind": "group", "groups": 32}], ids=str)  # fmt: skip
def test_other_norms_can_stand_there(norm: object) -> None:
    assert make_plan(study(base={**PUBLISHED, "norm": norm})).arms


def test_evonorm_s0_needs_two_values_per_group() -> None:
    norm = {"kind": "evonorm_s0", "groups": 4096}
    with pytest.raises(UserError, match=r"'stage4\.block1\.branch\.norm2'.*one value per group"):
        make_plan(study(base={**PUBLISHED, "norm": norm}))


def test_instance_norm_can_stand_where_the_slots_end_before() -> None:
    model = {"kind": "resnet50", "norm_slots": 3}
    assert make_plan(study(base={**PUBLISHED, "model": model, "norm": "instance"})).arms


def test_slots_of_a_model_are_a_factor() -> None:
    factors = {"model.norm_slots": [0, 1, 2, 3], "dropout.slots": [1, 2]}
    plan = make_plan(study(base={**PUBLISHED, "dropout": 0.2}, factors=factors))
    # The hand counts of color images, less the two channels a grey image has not: 2 * 49 * 64.
    counts = {arm.levels["model.norm_slots"]: arm.parameters + 6272 for arm in plan.record.arms}
    assert counts == {0: 23_509_770, 1: 23_517_322, 2: 23_524_874, 3: 23_555_082}
    assert len(plan.arms) == 8


def test_the_plan_says_where_blocks_are_others_than_asked_for() -> None:
    plan = make_plan(study(base={**BASE, "model": "resnet", "norm": "filter_response"}))
    assert plan.record.arms[0].notes == (
        "norm 'filter_response' comes with its activation: pre-activation blocks "
        "(model.block: pre)",
    )


def test_growing_a_grid_keeps_the_old_trials() -> None:
    small = make_plan(study(factors={"norm": ["batch", "layer"]}))
    large = make_plan(study(factors={"norm": ["batch", "layer", "none"]}, seeds=3))
    assert {row.id for row in small.rows()} < {row.id for row in large.rows()}


def test_overrides_hold_in_every_arm_and_fix_a_factor() -> None:
    varied = study(factors={"norm": ["batch", "layer"], "lr": [0.1, 0.2]})
    plan = make_plan(varied.vary(overrides={"lr": 0.5, "epochs": 1}, seeds=1))
    assert labels(plan) == ["batch", "layer"]
    assert {(arm.recipe.lr, arm.recipe.epochs) for arm in plan.arms} == {(0.5, 1)}
    assert plan.study.seeds == (0,)


def test_constraints_see_an_overridden_factor() -> None:
    varied = study(
        factors={"norm": ["batch", "layer"], "batch_size": [2, 32]},
        constraints=[{"exclude": {"norm": "batch", "batch_size": 2}}],
    )
    assert labels(make_plan(varied.vary(overrides={"batch_size": 2}))) == ["layer"]


def test_dotted_overrides_go_into_a_factor_s_component() -> None:
    varied = study(factors={"norm": ["batch", "layer"]}).vary(overrides={"norm.eps": 0.1})
    assert {arm.recipe.norm.options["eps"] for arm in make_plan(varied).arms} == {0.1}


def test_options_of_the_base_go_into_whatever_component_stands_there() -> None:
    base = {**BASE, "data.scaling": "unit", "norm.eps": 0.1}
    varied = study(base=base, factors={"norm": ["batch", "layer"]}).vary(overrides={"data": "mnist", "model": "mnist-7704"})  # fmt: skip
    recipes = [arm.recipe for arm in make_plan(varied).arms]
    assert {(r.data.kind, r.data.options["scaling"]) for r in recipes} == {("mnist", "unit")}
    assert [r.norm.options["eps"] for r in recipes] == [0.1, 0.1]


def test_an_arm_s_own_options_come_before_the_base_s() -> None:
    base = {**BASE, "norm": "batch", "norm.eps": 0.1}
    plan = make_plan(study(base=base, factors={"norm.eps": [0.2, 0.3]}))
    assert [arm.recipe.norm.options["eps"] for arm in plan.arms] == [0.2, 0.3]


def test_a_variant_may_lack_levels_that_constraints_speak_of() -> None:
    factors = {"norm": ["batch", "layer"], "batch_size": [2, 32]}
    constraints = [{"exclude": {"norm": "batch", "batch_size": 2}}]
    quick = {"factors": {"batch_size": [32]}}
    varied = study(factors=factors, constraints=constraints, quick=quick).vary(quick=True)
    assert labels(make_plan(varied)) == ["norm=batch, batch_size=32", "norm=layer, batch_size=32"]


def test_the_quick_variant_changes_what_it_says() -> None:
    quick = {"seeds": 1, "set": {"epochs": 1}, "factors": {"norm": ["batch"]}}
    varied = study(factors={"norm": ["batch", "layer"]}, quick=quick)
    plan = make_plan(varied.vary(quick=True))
    assert labels(plan) == ["batch"]
    assert [row.seed for row in plan.rows()] == [0]
    assert plan.arms[0].recipe.epochs == 1
    assert len(make_plan(varied).arms) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factors": {"norm": ["batch"]}, "constraints": [{"exclude": {"norm": "bacth"}}]}, "'bacth' is no level of norm"),
        ({"constraints": [{"exclude": {"norm": "batch"}}]}, "there are none"),
        ({"name": "../up"}, "name"),
        ({"base": {**BASE, "momentum": 0.5, "schedule": "one_cycle"}}, "no effect"),
        ({"factors": {"nrom": ["batch"]}}, r"s, arm 'batch': unknown key of a recipe 'nrom'.*'norm'"),
        ({"factors": {"norm": ["btach"]}}, r"arm 'btach'\.norm: unknown kind 'btach'.*'batch'"),
        ({"factors": {"norm": []}}, r"factors\.norm"),
        ({"factor": {}}, "'factors'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": [1, 1]}, "different seeds"),
        ({"seeds": -3}, "seeds is -3"),
        ({"seeds": [-1]}, r"seeds.*-1"),
        ({"claims": ["x"]}, "claims.*unknown kind 'x'"),
        ({"arms": [{"label": "a", "sets": {}}]}, "'sets'.*'set'"),
        ({"arms": [{"label": "a"}, {"label": "a", "set": {"lr": 0.2}}]}, "two arms have the label 'a'"),
        ({"arms": [{"label": "a"}, {"label": "b", "set": {"norm": "batch"}}]}, "'a' and 'b' are the same recipe"),
        ({"factors": {"norm": ["batch"]}, "constraints": [{"exclude": {"norm": "batch"}}]}, "leave no arm"),
        ({"factors": {"norm": ["batch"]}, "constraints": [{"exclude": {"nrom": "batch"}}]}, "unknown factor 'nrom'"),
        ({"constraints": [{"nest": "norm"}]}, "either 'exclude' or 'nest'"),
        ({"base": {**BASE, "data": "mnist", "model": "mnist-7704", "norm": "instance"}}, "layer 'norm7' cannot take a map of 16x1x1"),
        ({"base": {**BASE, "lr.x": 1}}, r"lr\.x"),
        ({"base": {**BASE, "stochastic_depth": 0.1}}, "model 'digits-small' has no residual branches"),
        ({"factors": {"model.norm_slots": [1]}, "base": {**BASE, "model": "resnt"}}, "unknown kind 'resnt'.*'resnet'"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(study(**values))


def test_validation_that_takes_a_whole_class_is_refused_at_plan_time() -> None:
    base = {"data": {"kind": "digits", "limit": 1}, "model": "digits-small", "validation": 0.1}
    study = Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1})
    with pytest.raises(UserError, match=r"takes 1 of the 1 training images of class '0'"):
        make_plan(study)


def test_the_record_of_a_plan_is_still_found_by_its_old_name(digits: dict[str, object]) -> None:
    plan = make_plan(Study.parse({"name": "s", "question": "?", "base": digits, "seeds": 1}))
    with pytest.warns(DeprecationWarning, match=r"Plan\.as_record\(\) is now Plan\.record"):
        assert plan.as_record()["name"] == "s"


def test_an_arm_tells_what_its_record_has(digits: dict[str, object]) -> None:
    study = Study.parse({"name": "s", "question": "?", "base": digits, "seeds": [0, 7]})
    (arm,) = make_plan(study).arms
    assert arm.trials == {trial.seed: trial.id for trial in arm.record.trials}
    assert set(arm.trials) == {0, 7}
    assert (arm.parameters, arm.layers) == (arm.record.parameters, arm.record.layers)
    assert (arm.notes, arm.code) == (arm.record.notes, arm.record.code)
