"""Claims of a study file: which arms they are about, and what a mistake in one says."""

from pathlib import Path

import pytest

from normlab.errors import UserError
from normlab.records.plan import ClaimRecord, UnresolvedClaim
from normlab.study.plan import make_plan
from normlab.study.resolve import outline
from normlab.study.spec import Study

FASTER = {"kind": "faster", "arm": {"norm": "batch"}, "than": {"norm": "none"}, "target": 0.9}
FACTORS = {"norm": ["none", "batch", {"kind": "group", "groups": 4}], "batch_size": [16, 64]}


def study(*claims: dict[str, object], **values: object) -> Study:
    base = {"data": "digits", "model": "digits-small"}
    content = {"name": "s", "question": "?", "base": base, "factors": FACTORS, "seeds": 3}
    return Study.parse({**content, **values, "claims": list(claims)})


def record(claim: dict[str, object], **values: object) -> ClaimRecord:
    (found,) = outline(study(claim, **values)).judged
    return found


def test_a_side_is_every_arm_with_its_levels() -> None:
    found = record({"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "group"}})
    assert found.sides == (
        (
            "norm=batch, batch_size=16",
            "norm=batch, batch_size=64",
        ),
        (
            "norm=group, batch_size=16",
            "norm=group, batch_size=64",
        ),
    )


def test_a_list_of_levels_fits_each_and_a_label_fits_itself() -> None:
    found = record(
        {
            "kind": "equal",
            "arm": {"norm": ["batch", "none"], "batch_size": 16},
            "to": "norm=group, batch_size=64",
        }
    )
    assert found.sides == (
        (
            "norm=none, batch_size=16",
            "norm=batch, batch_size=16",
        ),
        ("norm=group, batch_size=64",),
    )


def test_best_is_held_against_every_other_arm() -> None:
    found = record({"kind": "best", "arm": {"norm": "batch", "batch_size": 16}})
    assert len(found.sides) == 6
    assert all(len(side) == 1 for side in found.sides)


def test_a_trend_has_a_side_per_level_and_falls_by_negated_levels() -> None:
    claim = {"kind": "trend", "factor": "batch_size", "within": {"norm": "batch"}}
    assert record(claim).levels == (16, 64)
    fallen = record({**claim, "direction": "falls"})
    assert fallen.levels == (-16, -64)
    assert fallen.sides == (("norm=batch, batch_size=16",), ("norm=batch, batch_size=64",))


def test_a_trend_over_words_falls_in_reverse_order() -> None:
    rises = record({"kind": "trend", "factor": "norm"})
    falls = record({"kind": "trend", "factor": "norm", "direction": "falls"})
    assert rises.levels == falls.levels == ()
    assert rises.sides == falls.sides[::-1]


def test_a_hump_is_named_as_one() -> None:
    hump = record({"kind": "trend", "factor": "norm", "contrast": "hump"})
    assert hump.name == "norm has a hump"
    assert record({"kind": "trend", "factor": "norm"}).name == "norm rises"


def test_two_claims_have_two_names() -> None:
    with pytest.raises(UserError, match="claims: two of them have the name 'a'"):
        outline(study({**CLAIM, "name": "a"}, {**CLAIM, "name": "a", "margin": 1}))
    made = outline(study(CLAIM, {**CLAIM, "margin": 1}, {**CLAIM, "metric": "test_ece"})).claims
    name = made[0].name
    assert [claim.name for claim in made] == [name, f"{name} (2)", f"{name} (3)"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_acuracy": 90}, "Did you mean 'test_accuracy'"),
        ({"test_accuracy": 0.9}, "test_accuracy is 0.9: percent, 0 to 100, is needed"),
        ({"test_macro_f1": 101}, "percent, 0 to 100, is needed"),
        ({"test_loss": -3}, "test_loss is -3: at least 0 is needed"),
        ({}, "at least 1 item"),
    ],
)
def test_a_published_number_is_in_its_unit(values: dict[str, object], message: str) -> None:
    rows = [{"arm": {"norm": "batch", "batch_size": 16}, "values": values}]
    with pytest.raises(UserError, match=message):
        study(published=rows)


def test_published_columns_of_the_source_s_own_and_words_are_taken() -> None:
    values = {"best_test_accuracy": 99.4, "train_loss / 32": 0.03, "test_accuracy": "about 99"}
    rows = [{"arm": {"norm": "batch", "batch_size": 16}, "values": {**values, "gap": -0.2}}]
    assert outline(study(published=rows)).published[0].values["gap"] == -0.2


def test_an_interaction_is_two_gains() -> None:
    found = record(
        {
            "kind": "interaction",
            "arm": {"norm": "batch"},
            "over": {"norm": "none"},
            "at_levels": {"batch_size": 64},
            "than_at": {"batch_size": 16},
        }
    )
    assert found.sides == (
        ("norm=batch, batch_size=64",),
        ("norm=none, batch_size=64",),
        ("norm=batch, batch_size=16",),
        ("norm=none, batch_size=16",),
    )


CLAIM = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}


def test_margins_are_points_of_accuracies_and_units_of_all_else() -> None:
    assert record(CLAIM).margin == 0.001  # handwritten digits
    assert record(CLAIM, analysis={"margin": 0.5}).margin == 0.005
    assert record({**CLAIM, "margin": 2}).margin == 0.02
    assert record({**CLAIM, "metric": "test_loss", "margin": 0.02}).margin == 0.02
    # That of the analysis is of its metric, whether the claim names it or not.
    named = {**CLAIM, "metric": "test_accuracy"}
    assert record(named, analysis={"margin": 0.5}).margin == 0.005
    assert record({**CLAIM, "metric": "test_macro_f1"}, analysis={"margin": 5}).margin == 0.001
    with pytest.raises(UserError, match="'test_loss' has no usual margin"):
        record({**CLAIM, "metric": "test_loss"})
    with pytest.raises(UserError, match="that of analysis is of test_accuracy"):
        record({**CLAIM, "metric": "test_loss"}, analysis={"margin": 1})


def test_a_claim_s_hash_is_of_what_it_says_and_not_of_its_words() -> None:
    first = record(CLAIM).hash
    assert record({**CLAIM, "says": "BatchNorm wins", "name": "a"}).hash == first
    assert record({**CLAIM, "margin": 2}).hash != first
    assert record({**CLAIM, "arm": {"norm": "group"}}).hash != first


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ({"kind": "betterr"}, ["unknown kind 'betterr'", "'better'"]),
        ({**CLAIM, "arm": {"norms": "batch"}}, ["claim 1", "unknown factor 'norms'", "'norm'"]),
        ({**CLAIM, "arm": {"norm": "layer"}}, ["no arm has {norm: layer}", "norm=batch"]),
        ({**CLAIM, "arm": "norm=batch, batch_size=32"}, ["unknown arm", "batch_size=64"]),
        ({**CLAIM, "metric": "test_acuracy"}, ["unknown metric 'test_acuracy'", "test_accuracy"]),
        ({**CLAIM, "margin": -1}, ["margin is -1"]),
        ({**CLAIM, "arm": [5]}, ["claims.0.arm is [5]: an arm's label or levels"]),
        ({**CLAIM, "arm": {"norm": ["batch", "layer"]}}, ["norm has no level layer"]),
        (
            {**CLAIM, "over": {"norm": "batch", "batch_size": 16}},
            ["the arm 'norm=batch, batch_size=16' is on two sides"],
        ),
        ({"kind": "best", "arm": {"norm": "batch"}, "over": []}, ["there is none beside"]),
        ({"kind": "trend", "factor": "lr"}, ["unknown factor 'lr'"]),
        (
            {"kind": "trend", "factor": "batch_size", "within": {"nrom": "batch"}},
            ["unknown factor 'nrom'", "'norm'"],
        ),
        (
            {"kind": "trend", "factor": "batch_size", "within": {"norm": "btach"}},
            ["no arm has {norm: btach}"],
        ),
        ({**CLAIM, "kind": "faster"}, ["unknown key", "'over'"]),
        ({**FASTER, "metric": "test_loss"}, ["is about time"]),
        ({**FASTER, "test": "t"}, ["test is 't': allowed: permutation"]),
    ],
)
def test_a_mistake_is_named(claim: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        outline(study(claim))
    for part in parts:
        assert part in str(caught.value)


def test_a_variant_keeps_a_claim_whose_arms_it_lacks_and_says_why() -> None:
    varied = study(CLAIM).vary(overrides={"norm": "batch"})
    (found,) = outline(varied).claims
    assert isinstance(found, UnresolvedClaim)
    assert found.unresolved == "norm is set to batch, and none is needed"


def test_a_factor_that_is_set_still_picks_the_arms_that_have_its_level() -> None:
    claim = {
        "kind": "better",
        "arm": {"batch_size": 64, "norm": "batch"},
        "over": {"batch_size": 8, "norm": ["batch", "layer"]},
        "margin": 1,
    }
    made = study(claim, factors={"norm": ["batch", "layer"], "batch_size": [8, 64]})
    (found,) = outline(made.vary(overrides={"norm": "batch"})).judged
    assert found.sides == (("batch_size=64",), ("batch_size=8",))
    (lost,) = outline(made.vary(overrides={"norm": "layer"})).claims
    assert isinstance(lost, UnresolvedClaim)
    assert lost.unresolved == "norm is set to layer, and batch is needed"
    kind = {"kind": "batch", "momentum": 0.2}
    assert outline(made.vary(overrides={"norm": kind})).judged  # a bare name is the kind


def test_a_trend_over_a_factor_that_is_set_says_so() -> None:
    trend = {"kind": "trend", "factor": "batch_size", "margin": 1}
    made = study(trend, factors={"batch_size": [8, 16, 64], "norm": ["batch", "layer"]})
    (lost,) = outline(made.vary(overrides={"batch_size": 8})).claims
    assert isinstance(lost, UnresolvedClaim)
    assert lost.unresolved == "batch_size is set to 8 in every arm"


def test_looks_must_rise() -> None:
    with pytest.raises(UserError, match="numbers of seeds that rise"):
        study(CLAIM, analysis={"looks": [10, 5]})


@pytest.mark.parametrize("key", ["name", "varied", "sequential"])
def test_a_file_does_not_say_how_it_is_run(key: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        f"question: '?'\nbase: {{data: digits, model: digits-small}}\nseeds: 1\n{key}: x\n"
    )
    with pytest.raises(UserError, match=r"named by its file|unknown key of a study"):
        Study.load(path)


def test_a_claim_of_time_about_several_arms_is_refused() -> None:
    arm, than = {"norm": "batch"}, {"norm": "none", "batch_size": 16}
    claim = {"kind": "faster", "arm": arm, "than": than, "target": 0.9}
    with pytest.raises(
        UserError, match="'faster' compares one arm with one, and norm=batch fits 2"
    ):
        record(claim)


@pytest.mark.parametrize(
    ("claim", "base", "words"),
    [
        ({"at": 50}, {}, "epoch 50 is beyond its 10 epochs"),
        ({"at": "worst_of_last_11"}, {}, "epoch 11 is beyond its 10 epochs"),
        ({"at": "worst_of_last_0"}, {}, "at"),
        ({"at": "best_validation"}, {"validation": 0}, "no validation images"),
        ({"metric": "validation_accuracy"}, {"validation": 0}, "no validation images"),
        ({"metric": "train_accuracy"}, {"augment": ["mixup"]}, "mean nothing under mixup"),
    ],
)
def test_a_claim_about_numbers_there_will_not_be_is_refused(
    claim: dict[str, object], base: dict[str, object], words: str
) -> None:
    values = {"data": "digits", "model": "digits-small", **base}
    with pytest.raises(UserError, match=words):
        make_plan(study({**CLAIM, **claim}, base=values))


def test_early_stopping_on_no_image_is_refused() -> None:
    base = {"data": "digits", "model": "digits-small", "validation": 1e-4, "early_stopping": 2}
    with pytest.raises(UserError, match="is none at all"):
        make_plan(study(base=base))


def test_a_level_that_is_a_list_can_be_named() -> None:
    levels = [[], ["horizontal_flip"]]
    claim = {"kind": "better", "arm": {"augment": ["horizontal_flip"]}, "over": {"augment": []}}
    found = record(claim, factors={"augment": levels})
    assert len(found.sides[0]) == len(found.sides[1]) == 1


@pytest.mark.parametrize(
    "claim",
    [
        {**CLAIM, "arm": {}},
        {"kind": "trend", "factor": "batch_size", "contrast": "hump", "direction": "falls"},
        FASTER,
    ],
)
def test_what_has_no_meaning_is_refused(claim: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"picks every arm|does not fall|one arm with one"):
        outline(study(claim))


def test_what_its_kind_cannot_judge_is_refused_with_the_claim_s_name() -> None:
    hump = {"kind": "trend", "factor": "batch_size", "contrast": "hump", "name": "a hump"}
    with pytest.raises(UserError, match="claim a hump: trend: contrast hump needs three levels"):
        outline(study(hump))
    several = {**CLAIM, "test": "permutation", "name": "permuted"}
    with pytest.raises(UserError, match="claim permuted: better: test 'permutation' compares one"):
        outline(study(several))
    assert outline(study(several, analysis={"paired": True})).judged


def test_a_variant_without_the_levels_of_a_claim_says_so_before_it_trains() -> None:
    hump = {"kind": "trend", "factor": "batch_size", "contrast": "hump"}
    factors = {"batch_size": [8, 16, 64]}
    made = study(hump, factors=factors, quick={"factors": {"batch_size": [8, 16]}})
    (found,) = outline(made.vary(quick=True)).claims
    assert isinstance(found, UnresolvedClaim)
    assert found.name == "batch_size has a hump"
    assert "three levels" in found.unresolved
