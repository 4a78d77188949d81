"""From a study to its arms and trials, each trial with its id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from torch import nn

from normlab.data import check_validation, data_digest, describe, held_out
from normlab.errors import UserError
from normlab.models import (
    build,
    drops_before_norm,
    layer_count,
    layer_table,
    parameter_count,
    roles,
)
from normlab.norms import is_norm
from normlab.own_code import OwnCode
from normlab.recipe import SEMANTICS, Recipe, own_modules, trial_id, with_value
from normlab.recipe.data import OwnData
from normlab.store import TrialRow
from normlab.study.cells import cells
from normlab.study.checks import check_claim, check_figure
from normlab.study.outline import outline
from normlab.study.own import look_at_data, own_code, remember_loaded
from normlab.study.spec import Study, Values

MOST_TRIALS = 200_000
MOST_PARAMETERS = 10**10
"""Of a model: 40 GB of float32, and as much again for gradients."""
_SOME = 0.5
"""A probability in place of any other."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A recipe as one cell of a study.

    Attributes:
        label: Short name, different from every other arm's.
        levels: The factors' values that make this arm, by recipe key.
        recipe: The whole recipe.
        parameters: Trainable values of its model.
        layers: Layers with weights on the longest way through it.
        notes: Where the model gets something other than the recipe wants.
        norm: First norm of its model, without values; None where it has none.
        drops_before_norm: Whether a norm is registered behind a layer that drops values.
        has_gains: Whether its norms have gains.
        trials: Trial id by seed.
        code: Hashes of the own code that is part of these ids, by module or file.
    """

    label: str
    levels: Mapping[str, Any]
    recipe: Recipe
    parameters: int
    layers: int
    notes: tuple[str, ...]
    norm: nn.Module | None
    drops_before_norm: bool
    has_gains: bool
    trials: Mapping[int, str]
    code: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of a study trains."""

    study: Study
    arms: tuple[Arm, ...]

    def rows(self) -> list[TrialRow]:
        """Every trial, seed by seed, so that a run cut short has whole seeds."""
        return [
            TrialRow(
                id=arm.trials[seed],
                recipe=arm.recipe.canonical(),
                seed=seed,
                data_digest=data_digest(arm.recipe),
                semantics=SEMANTICS,
            )
            for seed in self.study.seeds
            for arm in self.arms
        ]

    def recipes(self) -> dict[str, tuple[Recipe, int]]:
        """Recipe and seed of every trial by id, in the order of `rows`."""
        return {
            arm.trials[seed]: (arm.recipe, seed) for seed in self.study.seeds for arm in self.arms
        }

    def codes(self) -> dict[str, str | None]:
        """Hash of the own code of every trial by id; None where it has none."""
        return {
            trial: OwnCode(arm.code).digest if arm.code else None
            for arm in self.arms
            for trial in arm.trials.values()
        }

    def names(self) -> dict[str, str]:
        """Arm and seed of every trial in words, by id."""
        return {
            trial: f"{arm.label}, seed {seed}"
            for arm in self.arms
            for seed, trial in arm.trials.items()
        }

    def as_record(self) -> dict[str, Any]:
        """The plan as plain data: what the store keeps and the report reads."""
        return {
            **outline(self.study),
            "factors": sorted({key for arm in self.arms for key in arm.levels}),
            "overrides": self.study.overrides,
            "rehearsal": self.study.rehearsal,
            "arms": [
                {
                    "label": arm.label,
                    "levels": dict(arm.levels),
                    "recipe": arm.recipe.canonical(),
                    "epochs": arm.recipe.epochs,
                    "parameters": arm.parameters,
                    "layers": arm.layers,
                    "classes": describe(arm.recipe.data).num_classes,
                    **_own_names(arm.recipe),
                    "notes": list(arm.notes),
                    "trials": {str(seed): trial for seed, trial in arm.trials.items()},
                    **({"code": dict(arm.code)} if arm.code else {}),
                }
                for arm in self.arms
            ],
        }


def make_plan(study: Study) -> Plan:
    """Lay out a study's trials.

    Raises:
        UserError: A recipe is not valid, two arms are one, or a model cannot be built as asked.
    """
    describe.cache_clear()  # a folder of images may have changed since the last plan
    laid_out = [
        (label, levels, _recipe(study, label, {**levels, **overrides}))
        for label, levels, overrides in cells(study)
    ]
    if len(laid_out) * len(study.seeds) > MOST_TRIALS:
        raise UserError(
            f"{study.name}: {len(laid_out):,} arms x {len(study.seeds):,} seeds are "
            f"{len(laid_out) * len(study.seeds):,} trials: at most {MOST_TRIALS:,} are allowed"
        )
    # Before anything is imported, for any of the arms.
    study.require_trust(module for *_, recipe in laid_out for module in own_modules(recipe))
    arms: list[Arm] = []
    for label, levels, recipe in laid_out:
        code = own_code(recipe, study.code)
        look_at_data(recipe)
        look = _inspect(recipe, label, code.digest if code else None)
        if look.parameters > MOST_PARAMETERS:
            raise UserError(
                f"arm '{label}': its model has {look.parameters:,} parameters: "
                f"at most {MOST_PARAMETERS:,} are allowed"
            )
        if code is not None:
            # Again: a module is held to the source it had when it was loaded.
            code = own_code(recipe, study.code) or code
            remember_loaded(recipe, code.digest)
        data, own = data_digest(recipe), code.digest if code else None
        trials = {seed: trial_id(recipe, seed, data, own) for seed in study.seeds}
        for other in arms:
            if other.label == label:
                raise UserError(f"{study.name}: two arms have the label '{label}'")
            if other.trials == trials:
                raise UserError(
                    f"{study.name}: the arms '{other.label}' and '{label}' are the same recipe"
                )
        arms.append(
            Arm(
                label=label,
                levels=levels,
                recipe=recipe,
                parameters=look.parameters,
                layers=look.layers,
                notes=look.notes,
                norm=look.norm,
                drops_before_norm=look.drops_before_norm,
                has_gains=look.has_gains,
                trials=trials,
                code=code.parts if code else {},
            )
        )
    if not arms:
        raise UserError(f"{study.name}: its constraints leave no arm")
    if study.code and not any(arm.code for arm in arms):
        raise UserError(
            f"{study.name}: code is {list(study.code)}: no arm has own data, an own model or norm"
        )
    made = Plan(study=study, arms=tuple(arms))
    if not study.varied:
        recipes = {arm.label: arm.recipe for arm in arms}
        record = outline(study)
        for claim in record["claims"]:
            check_claim(claim, recipes)
        for figure in record["figures"]:
            check_figure(figure, recipes, f"figure {figure['name']}")
        # What is shown of every arm where the study lists no figures.
        check_figure({"kind": "dots", **record["analysis"]}, recipes, "analysis")
    return made


def _own_names(recipe: Recipe) -> dict[str, list[str]]:
    """Names of the classes of own data, whose code the report does not run."""
    own = isinstance(recipe.data, OwnData)
    return {"class_names": list(describe(recipe.data).class_names)} if own else {}


def _recipe(study: Study, label: str, chosen: Values) -> Recipe:
    several = len(study.factors) or len(study.arms) > 1
    where = f"{study.name}, arm '{label}'" if several else study.name
    values: dict[str, Any] = {}
    written = {**study.base, **chosen}
    try:
        # A whole component first, then the options that go into it, the base's dotted ones too.
        for key in sorted(written, key=lambda key: key.count(".")):
            values = with_value(values, key, written[key])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Recipe.parse(values, where)


class _Look(NamedTuple):
    """What a plan says of an arm's model; see `Arm`."""

    parameters: int
    layers: int
    notes: tuple[str, ...]
    norm: nn.Module | None
    drops_before_norm: bool
    has_gains: bool


def _inspect(recipe: Recipe, label: str, code: str | None) -> _Look:
    parts = recipe.model_dump(
        mode="json",
        include={"data", "model", "norm", "activation", "dropout", "stochastic_depth"},
    )
    # Arms that differ in how much they drop, and not where, have one look at one model.
    p = parts["dropout"]["p"]
    parts["dropout"]["p"] = (
        [_SOME * (each > 0) for each in p] if isinstance(p, list) else _SOME * (p > 0)
    )
    try:
        facts = describe(recipe.data)
        check_validation(facts.train_counts, facts.class_names, recipe.validation)
        batch = min(smallest_batch(recipe), 2)
        look = _built(
            json.dumps(parts, sort_keys=True), facts.shape, facts.num_classes, batch, code
        )
    except UserError as error:
        raise UserError(f"arm '{label}': {error}") from None
    return look._replace(notes=(*look.notes, *facts.notes))


def kept_images(recipe: Recipe) -> int:
    """Images that are trained on: those of the training set that no validation holds out."""
    images = describe(recipe.data).train_images
    held = held_out(images, recipe.validation)
    stops = recipe.early_stopping
    if stops.patience and stops.split == "validation" and not held:
        raise UserError(
            f"early_stopping: validation {recipe.validation} of {images} images is none at all"
        )
    return images - held


def smallest_batch(recipe: Recipe) -> int:
    """Images in the smallest training batch: the last of an epoch may be ragged."""
    kept = kept_images(recipe)
    return kept % recipe.batch_size or min(recipe.batch_size, kept)


@cache
def _built(
    parts: str, shape: tuple[int, int, int], num_classes: int, batch: int, code: str | None
) -> _Look:
    """A look at a model, without allocating it or reading the data; anew where its code is."""
    recipe = Recipe.parse(json.loads(parts))
    built = build(recipe, shape, num_classes, device="meta")
    return _Look(
        layers=layer_count(layer_table(built.model, shape, images=batch)),
        parameters=parameter_count(built.model),
        notes=built.notes,
        norm=next(filter(is_norm, built.model.modules()), None),
        drops_before_norm=drops_before_norm(built.model),
        has_gains="norm_gain" in roles(built.model).values(),
    )
