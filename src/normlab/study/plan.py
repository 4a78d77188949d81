"""From a study to its arms and trials, each trial with its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from normlab.data import Facts, check_validation, describe, held_out
from normlab.deprecated import renamed
from normlab.errors import UserError
from normlab.own_code import OwnCode
from normlab.recipe import SEMANTICS, Recipe, own_modules, trial_ids
from normlab.recipe.data import OwnData
from normlab.records.plan import ArmRecord, PlanRecord, TrialRecord
from normlab.store import TrialRow
from normlab.study.cells import Cell, cells, recipe_of
from normlab.study.checks import check_record
from normlab.study.model_look import ModelLook, look_at_model
from normlab.study.own import look_at_data, own_code, remember_loaded
from normlab.study.resolve import outline
from normlab.study.spec import Study

MOST_TRIALS = 200_000
MOST_PARAMETERS = 10**10
"""Of a model: 40 GB of float32, and as much again for gradients."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A recipe as one cell of a study, with what its data and its model tell.

    Attributes:
        record: As the plan's record has it.
        recipe: The whole recipe.
        facts: Of its data.
        model: Of its model.
        images: Those that are trained on: the training images that no validation holds out.
    """

    record: ArmRecord
    recipe: Recipe
    facts: Facts
    model: ModelLook
    images: int

    @property
    def label(self) -> str:
        """Different from every other arm's."""
        return self.record.label

    @property
    def levels(self) -> Mapping[str, object]:
        """The factors' values that make this arm."""
        return self.record.levels

    @property
    def trials(self) -> dict[int, str]:
        """Id of each trial by its seed."""
        return {trial.seed: trial.id for trial in self.record.trials if trial.phase == "final"}

    @property
    def parameters(self) -> int:
        """Trainable values of its model."""
        return self.model.parameters

    @property
    def layers(self) -> int:
        """Layers with weights on the longest way through its model."""
        return self.model.layers

    @property
    def notes(self) -> tuple[str, ...]:
        """Where model or data are something other than the recipe says."""
        return self.record.notes

    @property
    def code(self) -> Mapping[str, str]:
        """Hashes of the own code that is part of its trials' ids, by module or file."""
        return self.record.code

    @property
    def smallest_batch(self) -> int:
        """Images in the smallest training batch: the last of an epoch may be ragged."""
        return _smallest_batch(self.recipe, self.images)


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

    def as_record(self) -> dict[str, object]:
        """The record as plain data; formerly the only form it had."""
        renamed("Plan.as_record()", "Plan.record")
        return self.record.model_dump(mode="json")

    def rows(self) -> list[TrialRow]:
        """Every trial as the store adds it."""
        return [
            TrialRow(
                id=trial.id,
                recipe=trial.arm.record.recipe,
                seed=trial.seed,
                data_digest=trial.arm.facts.digest,
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
    recipes = [recipe_of(study, cell) for cell in grid]
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
    """An arm with its trials; its data are described and its model is built without values."""
    code = own_code(recipe, study.code)
    look_at_data(recipe)
    try:
        facts = describe(recipe.data)
        check_validation(facts.train_counts, facts.class_names, recipe.validation)
        images = _training_images(recipe, facts)
        batch = min(_smallest_batch(recipe, images), 2)
        look = look_at_model(recipe, facts, batch, code.digest if code else None)
    except UserError as error:
        raise UserError(f"arm '{cell.label}': {error}") from None
    if look.parameters > MOST_PARAMETERS:
        raise UserError(
            f"arm '{cell.label}': its model has {look.parameters:,} parameters: "
            f"at most {MOST_PARAMETERS:,} are allowed"
        )
    if code is not None:
        # Again: a module is held to the source it had when it was loaded.
        code = own_code(recipe, study.code) or code
        remember_loaded(recipe, code.digest)
    own = code.digest if code else None
    seeds = study.stopped.get(cell.label, study.seeds)
    ids = trial_ids(recipe, seeds, facts.digest, own)
    record = ArmRecord(
        label=cell.label,
        levels=cell.levels,
        recipe=recipe.canonical(),
        trials=tuple(
            TrialRecord(seed=seed, id=each) for seed, each in zip(seeds, ids, strict=True)
        ),
        epochs=recipe.epochs,
        parameters=look.parameters,
        layers=look.layers,
        classes=facts.num_classes,
        # The report runs no code to ask for them.
        class_names=facts.class_names if isinstance(recipe.data, OwnData) else (),
        notes=(*look.notes, *facts.notes),
        code=dict(code.parts) if code else {},
    )
    return Arm(record=record, recipe=recipe, facts=facts, model=look, images=images)


def _training_images(recipe: Recipe, facts: Facts) -> int:
    held = held_out(facts.train_images, recipe.validation)
    stops = recipe.early_stopping
    if stops.patience and stops.split == "validation" and not held:
        raise UserError(
            f"early_stopping: validation {recipe.validation} of {facts.train_images} images is "
            "none at all"
        )
    return facts.train_images - held


def _smallest_batch(recipe: Recipe, images: int) -> int:
    return images % recipe.batch_size or min(recipe.batch_size, images)


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
