import inspect

import pytest

from normlab import models, norms
from normlab.data import SOURCES
from normlab.errors import UserError
from normlab.norms import NORMS
from normlab.recipe import (
    DATA,
    MODELS,
    SEMANTICS,
    Recipe,
    digest,
    trial_id,
    trial_ids,
    value_text,
    with_value,
)
from normlab.recipe import NORMS as NORM_SPECS
from normlab.train.losses import LOSSES

BASE = {"data": "digits", "model": "digits-small"}


def refused(**values: object) -> str:
    with pytest.raises(UserError) as caught:
        Recipe.parse({**BASE, **values})
    return str(caught.value)


def test_a_name_and_its_mapping_are_one_recipe() -> None:
    short = Recipe.parse({**BASE, "norm": "batch", "l1": 0.1, "dropout": 0.2})
    long = Recipe.parse(
        {
            **BASE,
            "norm": {"kind": "batch", "momentum": 0.1},
            "l1": {"strength": 0.1, "roles": ["weight", "head_weight"]},
            "dropout": {"p": 0.2},
        }
    )
    assert short == long
    assert trial_id(short, 0, "d") == trial_id(long, 0, "d")


def test_canonical_form_is_read_back_as_the_same_recipe() -> None:
    recipe = Recipe.parse({**BASE, "norm": {"kind": "group", "groups": 4}, "schedule": "one_cycle"})
    assert Recipe.parse(recipe.canonical()) == recipe


def test_defaults_do_not_enter_the_identity() -> None:
    assert set(Recipe.parse(BASE).canonical()) == {"data", "model"}


def test_the_identity_of_a_trial_never_changes() -> None:
    # Golden: a change here makes every stored trial of every user a stranger.
    recipe = Recipe.parse({**BASE, "norm": {"kind": "group", "groups": 4}, "lr": 0.05})
    assert trial_id(recipe, 3, "sha256:00") == "4fbd24a0040128a7f8ad"


def test_the_default_init_leaves_ids_alone_and_another_changes_them() -> None:
    plain = trial_id(Recipe.parse(BASE), 0, "d")
    assert trial_id(Recipe.parse({**BASE, "init": "torch"}), 0, "d") == plain
    assert trial_id(Recipe.parse({**BASE, "init": "glorot"}), 0, "d") != plain


@pytest.mark.parametrize(
    "change",
    [{"recipe": {"lr": 0.02}}, {"seed": 1}, {"digest": "other"}],
    ids=lambda c: next(iter(c)),
)
def test_everything_that_matters_changes_the_identity(change: dict[str, object]) -> None:
    base = trial_id(Recipe.parse(BASE), 0, "d")
    recipe = Recipe.parse({**BASE, **change.get("recipe", {})})  # type: ignore[dict-item]
    assert trial_id(recipe, change.get("seed", 0), change.get("digest", "d")) != base  # type: ignore[arg-type]


def test_a_penalty_of_strength_zero_is_no_penalty() -> None:
    assert Recipe.parse({**BASE, "l2": {"strength": 0, "roles": "all"}}) == Recipe.parse(BASE)


def test_the_order_of_roles_does_not_matter() -> None:
    one = {**BASE, "l2": {"strength": 0.1, "roles": ["weight", "bias"]}}
    other = {**BASE, "l2": {"strength": 0.1, "roles": ["bias", "weight"]}}
    assert Recipe.parse(one) == Recipe.parse(other)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"norm": "btach"}, ["norm", "'btach'", "'batch'", "instance"]),
        ({"nosuch": 1}, ["unknown key", "'nosuch'", "epochs"]),
        ({"epoch": 1}, ["'epoch'", "Did you mean 'epochs'?"]),
        ({"epochs": -1}, ["epochs", "-1", "greater than or equal to 1"]),
        ({"epochs": "3"}, ["epochs", "'3'", "integer"]),
        ({"epochs": True}, ["epochs", "True", "integer"]),
        ({"norm": {"kind": "group", "grups": 4}}, ["norm", "'grups'", "'groups'"]),
        ({"norm": {"kind": "group", "groups": 0}}, ["norm.groups", "0"]),
        ({"norm": "group"}, ["norm", "groups", "channels_per_group"]),
        ({"norm": {"kind": "group", "groups": 2, "channels_per_group": 2}}, ["exactly one"]),
        ({"norm": {"momentum": 0.1}}, ["norm", "'kind'"]),
        ({"precision": "float23"}, ["precision", "'float23'", "'float32'"]),
        ({"data": "minst"}, ["data", "'minst'", "'mnist'"]),
        ({"validation": 1.5}, ["validation", "1.5", "whole number"]),
        ({"lr": float("nan")}, ["lr", "nan", "finite"]),
        ({"optimizer": "adam", "weight_decay": 0.1}, ["weight_decay", "adamw", "l2"]),
        ({"optimizer": {"kind": "sgd", "nesterov": True}, "momentum": 0.0}, ["nesterov"]),
        ({"l1": {"strength": 0.1, "roles": ["wieght"]}}, ["l1.roles", "'wieght'", "'weight'"]),
        ({"agcc": 0.01}, ["unknown key", "'agcc'", "Did you mean 'agc'?"]),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_what_is_allowed(
    values: dict[str, object], parts: list[str]
) -> None:
    message = refused(**values)
    for part in parts:
        assert part in message


def test_of_several_unknown_keys_the_first_written_is_named() -> None:
    assert "'zzz9'" in refused(**{f"zzz{number}": 1 for number in range(9, -1, -1)})


def test_required_keys_are_named() -> None:
    with pytest.raises(UserError, match="model: is required"):
        Recipe.parse({"data": "digits"})


def test_dotted_keys_go_into_components() -> None:
    values = with_value({"norm": "batch"}, "norm.momentum", 0.3)
    assert values == {"norm": {"kind": "batch", "momentum": 0.3}}
    assert with_value({"l1": 0.5}, "l1.roles", "all") == {"l1": {"strength": 0.5, "roles": "all"}}


def test_dotted_keys_into_a_number_are_refused() -> None:
    with pytest.raises(UserError, match="'lr' has no keys"):
        with_value({"lr": 0.1}, "lr.min", 0.2)


def test_recipe_kinds_and_catalogs_are_the_same() -> None:
    # scaled_ws is no layer: it parametrizes the convolutions.
    assert [kind for kind in NORM_SPECS if kind != "scaled_ws"] == list(NORMS)
    assert list(MODELS) == list(models.MODELS)
    assert list(DATA) == list(SOURCES)
    assert set(Recipe.model_fields["loss"].annotation.__args__) == set(LOSSES)  # type: ignore[union-attr]
    activations = Recipe.model_fields["activation"].annotation.__args__  # type: ignore[union-attr]
    assert set(activations) == set(norms.ACTIVATIONS)


@pytest.mark.parametrize("kind", NORMS)
def test_norm_options_are_the_layer_s_arguments_with_the_same_defaults(kind: str) -> None:
    fields = NORM_SPECS[kind].model_fields
    options = {name: field.default for name, field in fields.items() if name != "kind"}
    arguments = dict(inspect.signature(NORMS[kind]).parameters)
    del arguments["num_channels"], arguments["activation"]
    assert options == {name: argument.default for name, argument in arguments.items()}


@pytest.mark.parametrize("catalog", [NORM_SPECS, MODELS, DATA], ids=["norms", "models", "data"])
def test_every_entry_has_a_one_line_description(catalog: dict[str, type]) -> None:
    for spec in catalog.values():
        assert 10 < len(spec.describe()) < 100  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "batch"}, "batch"),
        ([{"kind": "cutout", "size": 12}, "crop"], "[{kind: cutout, size: 12}, crop]"),
        ({"kind": "dropout", "p": [0.1, 0.2]}, "{kind: dropout, p: [0.1, 0.2]}"),
        (None, "null"),
        (1e-05, "1e-05"),
    ],
)
def test_a_value_in_words_is_as_in_a_study_file(value: object, text: str) -> None:
    assert value_text(value) == text


def test_ids_of_several_seeds_are_those_of_each_alone() -> None:
    recipe = Recipe.parse({"data": "digits", "model": "digits-small", "lr": 0.01})
    for code in (None, "abc"):
        ids = trial_ids(recipe, [0, 7, 123456], "digest", code)
        assert ids == [trial_id(recipe, seed, "digest", code) for seed in (0, 7, 123456)]
        identity = {"recipe": recipe.identity(), "seed": 7, "data": "digest"}
        identity |= {"semantics": SEMANTICS} | ({"code": code} if code else {})
        assert ids[1] == digest(identity)[:20]
