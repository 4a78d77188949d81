"""What an as-published study of source A does and its controlled one does not, key by key.

`pytest -rP tests/studies/test_differences.py` prints the differences.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from normlab.recipe import Recipe
from normlab.study.plan import make_plan
from normlab.study.published import Published
from normlab.study.spec import Study

ABSENT = "-"
PAGE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")

QUIRKS: dict[str, tuple[Any, Any]] = {
    "model.kind": ("resnet50-as-published", "resnet50"),
    "model.stem": ("large", "small"),
    "model.stem_pool": ("valid", "none"),
    "model.stem_norm": ("always", "auto"),
    "model.shortcut_norm": ("always", "auto"),
    "model.conv_bias": ("always", "auto"),
    "model.stride_on": ("conv1", "conv2"),
    "model.activation_before_addition": (True, False),
    "model.projection_dropout_slots": (2, 3),
    "model.projection_dropout_p": ("next", "own"),
    "model.final_pool": ("same", "global"),
    "norm.momentum": (0.01, 0.1),
    "norm.eps": (1e-3, 1e-5),
    "optimizer.eps": (1e-7, 1e-8),
    "schedule.kind": ("constant", "cosine"),
    "schedule.final_lr": (ABSENT, 0.0),
    "schedule.per": (ABSENT, "step"),
    "validation": (0.0, 0.1),
}
"""As published, controlled."""

NO_NORM = {
    "norm.kind": ("batch", "none"),
    "norm.momentum": (0.01, ABSENT),
    "norm.eps": (1e-3, ABSENT),
    "norm.affine": (True, ABSENT),
    "model.stem_norm": ("never", "auto"),
    "model.norm_slots": (0, 3),  # of no norm
}
EPOCHS = {"epochs": (100, 96)}  # which 16 divides

OF_A_PAIR: dict[str, dict[str, tuple[Any, Any]]] = {
    "resnet50-bn-dropout-batch64": {},
    "resnet50-bn-dropout-batch256": {},
    "resnet50-asymmetric-dropout": {},
    "resnet50-agc-1epoch": NO_NORM,
    "resnet50-agc": {"model.block": ("auto", "pre")},
    "resnet50-cutout-copies": EPOCHS,
    "resnet50-augmentation": EPOCHS,
    "resnet50-final": {
        "epochs": (500, 192),
        "early_stopping.patience": (20, None),
        "early_stopping.split": ("train", "validation"),
        "model.norm_slots": (2, 3),  # each arm says its own
    },
}

FACTORS = {
    "resnet50-agc-1epoch": (
        {"agc.clip", "batch_size"},
        {"agc.clip", "batch_size", "epochs", "dropout.p", "dropout.slots"},
    ),
    "resnet50-agc": (
        {"model.norm_slots", "dropout.p", "dropout.slots"},
        {"norm", "agc.clip", "dropout.p", "dropout.slots"},
    ),
}
"""Where the factors differ."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        found.update(inner)
    return found


def base(study: Study) -> dict[str, Any]:
    """Every key of the recipe that a study's base stands for, defaults included."""
    plain = study.model_copy(
        update={
            "factors": {},
            "arms": [],
            "constraints": [],
            "claims": [],
            "published": Published(),
            "figures": [],
        }
    )
    recipe: Recipe = make_plan(plain).arms[0].recipe
    return flat(recipe.model_dump(mode="json"))


@pytest.mark.parametrize("name", OF_A_PAIR)
def test_the_controlled_study_differs_in_these_keys_and_no_others(name: str) -> None:
    published, controlled = base(Study.load(name)), base(Study.load(f"{name}-controlled"))
    keys = dict.fromkeys((*published, *controlled))
    found = {
        key: (published.get(key, ABSENT), controlled.get(key, ABSENT))
        for key in keys
        if published.get(key, ABSENT) != controlled.get(key, ABSENT)
    }
    for key, (before, after) in found.items():
        print(f"{key}: {before} as published, {after} controlled")  # noqa: T201
    assert found == {**QUIRKS, **OF_A_PAIR[name]}


@pytest.mark.parametrize("name", OF_A_PAIR)
def test_factors_differ_where_the_question_asks_for_it(name: str) -> None:
    published, controlled = Study.load(name), Study.load(f"{name}-controlled")
    expected = FACTORS.get(name, (set(published.factors), set(published.factors)))
    assert (set(published.factors), set(controlled.factors)) == expected


@pytest.mark.parametrize("name", OF_A_PAIR)
def test_only_the_controlled_study_selects_by_validation(name: str) -> None:
    published, controlled = Study.load(name), Study.load(f"{name}-controlled")
    assert (published.analysis.at, controlled.analysis.at) == ("last", "best_validation")
    assert published.published.rows
    assert not controlled.published.rows
    assert name in controlled.published.note[0]


@pytest.mark.parametrize("name", OF_A_PAIR)
def test_each_quirk_is_written_out_as_a_key(name: str) -> None:
    written = Study.load(name).base
    model = {f"model.{key}" for key in written["model"]} | {"model.norm_slots"}
    assert {key for key in QUIRKS if key.startswith("model.")} <= model
    assert set(written) >= {"data.scaling", "norm", "optimizer", "lr", "schedule", "validation"}


@pytest.mark.parametrize(
    "key", [key for key in QUIRKS if not key.endswith((".kind", ".per", "_lr"))]
)
def test_each_quirk_is_on_the_page_of_studies(key: str) -> None:
    assert f"`{key}`" in PAGE


UPDATES = {
    "resnet50-cutout-copies-controlled": {"cutout x1", "cutout x2", "cutout x4", "cutout x8", "cutout x16", "none"},
    "resnet50-augmentation-controlled": {"cutout x1", "cutout x2", "cutout x8", "cutout x16", "none", "transforms"},
    "resnet50-final-controlled": None,
    "resnet50-agc-1epoch-controlled": None,
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_controlled_arms_have_equal_updates(name: str) -> None:
    """To a quarter of a percent: the last batch of an epoch may be smaller."""
    arms = make_plan(Study.load(name)).arms
    if labels := UPDATES[name]:
        assert {arm.label for arm in arms} == labels
    updates = [-(-45_000 // arm.recipe.batch_size) * arm.recipe.epochs for arm in arms]
    assert max(updates) < 1.0025 * min(updates)


@pytest.mark.parametrize("name", [name for name in UPDATES if "agc" not in name])
def test_controlled_arms_have_equal_images_in_an_update(name: str) -> None:
    for arm in make_plan(Study.load(name)).arms:
        copies = [getattr(spec, "copies", 1) for spec in arm.recipe.augment]
        assert arm.recipe.batch_size * max(copies, default=1) == 256


TWINS: dict[str, dict[str, tuple[Any, Any]]] = {
    "mnist-norms": {},  # its penalties differ, and those are in the arms
    "resnet14-norms": {
        "validation": (0.0, 0.1),
        "lr": (0.0001, 0.01),
    },  # a factor of the controlled
}
"""Of sources C and D: what their bases differ in, as published and controlled."""


@pytest.mark.parametrize("name", TWINS)
def test_controlled_studies_of_sources_c_and_d_differ_in_these_keys(name: str) -> None:
    published, controlled = base(Study.load(name)), base(Study.load(f"{name}-controlled"))
    assert published.keys() == controlled.keys()
    found = {key: (published[key], controlled[key]) for key in published}
    assert {key: pair for key, pair in found.items() if pair[0] != pair[1]} == TWINS[name]


def test_controlled_penalties_of_source_c_act_on_weights_alone() -> None:
    for arm in make_plan(Study.load("mnist-norms-controlled")).arms:
        for penalty in (arm.recipe.l1, arm.recipe.l2):
            assert set(penalty.roles) == {"weight", "head_weight"}


def test_every_controlled_norm_of_source_d_has_the_published_rate_and_higher_ones() -> None:
    rates: dict[str, set[float]] = {}
    for arm in make_plan(Study.load("resnet14-norms-controlled")).arms:
        rates.setdefault(arm.recipe.norm.kind, set()).add(arm.recipe.lr)
    assert len(rates) == 7
    assert all(found == {0.0001, 0.0003, 0.001, 0.003} for found in rates.values())


def test_the_pure_run_of_source_c_differs_from_mnist_norms_in_its_validation_images_alone() -> None:
    with_validation, without = (
        base(Study.load("mnist-norms")),
        base(Study.load("mnist-norms-60000")),
    )
    different = {key for key in without if without[key] != with_validation[key]}
    assert different == {"validation"}
    (first, *_) = make_plan(Study.load("mnist-norms-60000")).arms
    assert first.images == 60_000
