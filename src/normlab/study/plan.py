"""From a study to its arms and trials, each trial with its id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

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
from normlab.records.plan import ArmRecord, PlanRecord, TrialRecord
from normlab.store import TrialRow
from normlab.study.cells import Cell, cells
from normlab.study.checks import check_record
from normlab.study.own import look_at_data, own_code, remember_loaded
from normlab.study.resolve import outline
from normlab.study.spec import Study, Values

MOST_TRIALS = 200_000
MOST_PARAMETERS = 10**10
"""Of a model: 40 GB of float32, and as much again for gradients."""
_SOME = 0.5
"""A probability in place of any other."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A recipe as one cell of a study, with what its model tells.

    Attributes:
        record: As the plan's record has it.
        recipe: The whole recipe.
        norm: First norm of its model, without values; None where it has none.
        drops_before_norm: Whether a norm is registered behind a layer that drops values.
        has_gains: Whether its norms have gains.
    """

    record: ArmRecord
    recipe: Recipe
    norm: nn.Module | None
    drops_before_norm: bool
    has_gains: bool

    @property
    def label(self) -> str:
        """Different from every other arm's."""
        return self.record.label

    @property
    def levels(self) -> Mapping[str, object]:
        """The factors' values that make this arm."""
        return self.record.levels


class PlannedTrial(NamedTuple):
    """One training with all that it needs."""

    id: str
    arm: Arm
    seed: int

    @property
    def code(self) -> str | None:
        """Hash of the own code that it rests on; None where there is none."""
        return OwnCode(self.arm.record.code).digest if self.arm.record.code else None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of a study trains.

    Attributes:
        study: What was planned.
        arms: With their recipes.
        record: The same as plain data: what is stored, judged and shown.
    """

    study: Study
    arms: tuple[Arm, ...]
    record: PlanRecord

    @cached_property
    def trials(self) -> dict[str, PlannedTrial]:
        """Every trial by id, seed by seed, so that a run cut short has whole seeds."""
        arms = {arm.label: arm for arm in self.arms}
        return {
            trial.id: PlannedTrial(trial.id, arms[arm.label], trial.seed)
            for arm, trial in self.record.by_seed()
        }

    def rows(self) -> list[TrialRow]:
        """Every trial as the store adds it."""
        return [
            TrialRow(
                id=trial.id,
                recipe=trial.arm.record.recipe,
                seed=trial.seed,
                data_digest=data_digest(trial.arm.recipe),
                semantics=SEMANTICS,
            )
            for trial in self.trials.values()
        ]


def make_plan(study: Study) -> Plan:
    """Lay out a study's trials.

    Raises:
        UserError: A recipe is not valid, two arms are one, or a model cannot be built as asked.
    """
    describe.cache_clear()  # a folder of images may have changed since the last plan
    grid = list(cells(study))
    recipes = [_recipe(study, cell) for cell in grid]
    trials = len(grid) * len(study.seeds)
    if trials > MOST_TRIALS:
        raise UserError(
            f"{study.name}: {len(grid):,} arms x {len(study.seeds):,} seeds are "
            f"{trials:,} trials: at most {MOST_TRIALS:,} are allowed"
        )
    # Before anything is imported, for any of the arms.
    study.require_trust(module for recipe in recipes for module in own_modules(recipe))
    arms = [_arm(study, cell, recipe) for cell, recipe in zip(grid, recipes, strict=True)]
    _check_different(study, arms)
    if study.code and not any(arm.record.code for arm in arms):
        raise UserError(
            f"{study.name}: code is {list(study.code)}: no arm has own data, an own model or norm"
        )
    record = outline(study, grid).model_copy(update={"arms": tuple(arm.record for arm in arms)})
    if not study.varied:
        check_record(record, {arm.label: arm.recipe for arm in arms})
    return Plan(study=study, arms=tuple(arms), record=record)


def _arm(study: Study, cell: Cell, recipe: Recipe) -> Arm:
    """An arm with its trials; its model is built, without values, to look at it."""
    code = own_code(recipe, study.code)
    look_at_data(recipe)
    look = _inspect(recipe, cell.label, code.digest if code else None)
    if look.parameters > MOST_PARAMETERS:
        raise UserError(
            f"arm '{cell.label}': its model has {look.parameters:,} parameters: "
            f"at most {MOST_PARAMETERS:,} are allowed"
        )
    if code is not None:
        # Again: a module is held to the source it had when it was loaded.
        code = own_code(recipe, study.code) or code
        remember_loaded(recipe, code.digest)
    data, own = data_digest(recipe), code.digest if code else None
    record = ArmRecord(
        label=cell.label,
        levels=cell.levels,
        recipe=recipe.canonical(),
        trials=tuple(
            TrialRecord(seed=seed, id=trial_id(recipe, seed, data, own)) for seed in study.seeds
        ),
        epochs=recipe.epochs,
        parameters=look.parameters,
        layers=look.layers,
        classes=describe(recipe.data).num_classes,
        # The report runs no code to ask for them.
        class_names=describe(recipe.data).class_names if isinstance(recipe.data, OwnData) else (),
        notes=look.notes,
        code=dict(code.parts) if code else {},
    )
    return Arm(
        record=record,
        recipe=recipe,
        norm=look.norm,
        drops_before_norm=look.drops_before_norm,
        has_gains=look.has_gains,
    )


def _check_different(study: Study, arms: Sequence[Arm]) -> None:
    if not arms:
        raise UserError(f"{study.name}: its constraints leave no arm")
    labels: set[str] = set()
    same: dict[tuple[TrialRecord, ...], str] = {}
    for arm in arms:
        if arm.label in labels:
            raise UserError(f"{study.name}: two arms have the label '{arm.label}'")
        labels.add(arm.label)
        other = same.setdefault(arm.record.trials, arm.label)
        if other != arm.label:
            raise UserError(
                f"{study.name}: the arms '{other}' and '{arm.label}' are the same recipe"
            )


def _recipe(study: Study, cell: Cell) -> Recipe:
    several = len(study.factors) or len(study.arms) > 1
    where = f"{study.name}, arm '{cell.label}'" if several else study.name
    values: Values = {}
    written = {**study.base, **cell.levels, **cell.overrides}
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
