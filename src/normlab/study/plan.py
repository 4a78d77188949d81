"""From a study to its arms and trials, each trial with its id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from normlab.data import data_digest, describe, held_out
from normlab.errors import UserError, unknown
from normlab.models import build, layer_table, parameter_count
from normlab.recipe import SEMANTICS, Recipe, trial_id, with_value
from normlab.store import TrialRow
from normlab.study.spec import Study, Values, is_level


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A recipe as one cell of a study.

    Attributes:
        label: Short name, different from every other arm's.
        levels: The factors' values that make this arm, by recipe key.
        recipe: The whole recipe.
        parameters: Trainable values of its model.
        notes: Where the model gets something other than the recipe wants.
        trials: Trial id by seed.
    """

    label: str
    levels: Mapping[str, Any]
    recipe: Recipe
    parameters: int
    notes: tuple[str, ...]
    trials: Mapping[int, str]


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
            "name": self.study.name,
            "question": self.study.question,
            "factors": sorted({key for arm in self.arms for key in arm.levels}),
            "seeds": list(self.study.seeds),
            "overrides": self.study.overrides,
            "arms": [
                {
                    "label": arm.label,
                    "levels": dict(arm.levels),
                    "recipe": arm.recipe.canonical(),
                    "epochs": arm.recipe.epochs,
                    "parameters": arm.parameters,
                    "notes": list(arm.notes),
                    "trials": {str(seed): trial for seed, trial in arm.trials.items()},
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
    arms: list[Arm] = []
    for label, levels, overrides in _cells(study):
        recipe = _recipe(study, label, {**levels, **overrides})
        parameters, notes = _inspect(recipe, label)
        trials = {seed: trial_id(recipe, seed, data_digest(recipe)) for seed in study.seeds}
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
                parameters=parameters,
                notes=notes,
                trials=trials,
            )
        )
    if not arms:
        raise UserError(f"{study.name}: its constraints leave no arm")
    return Plan(study=study, arms=tuple(arms))


def _cells(study: Study) -> Iterator[tuple[str, Values, Values]]:
    """Label, levels and overrides of every arm: the grid, then the arms written out."""
    _check_constraints(study)
    seen: list[str] = []
    factors = {key: v for key, v in study.factors.items() if key not in study.overrides}
    if study.factors or not study.arms:
        for values in product(*factors.values()):
            levels = dict(zip(factors, values, strict=True))
            cell = {**study.base, **levels, **study.overrides}
            if any(c.exclude and c.matches(cell) for c in study.constraints):
                continue
            outside = {c.nest for c in study.constraints if c.nest and not c.matches(cell)}
            levels = {key: value for key, value in levels.items() if key not in outside}
            text = json.dumps(levels, sort_keys=True, default=str)
            if text not in seen:
                seen.append(text)
                overrides = {k: v for k, v in study.overrides.items() if k not in outside}
                yield _label(factors, levels), levels, overrides
    for arm in study.arms:
        levels = {key: v for key, v in arm.set.items() if key not in study.overrides}
        yield arm.label, levels, study.overrides


def _check_constraints(study: Study) -> None:
    """Every key is a factor, and every level named is one of its levels."""
    for constraint in study.constraints:
        for key in filter(None, [*constraint.wanted, constraint.nest]):
            if key not in study.factors and key not in study.overrides:
                known = unknown("factor", key, study.factors)
                message = known if study.factors else f"'{key}' is no factor: there are none"
                raise UserError(f"{study.name}.constraints: {message}")
        for key, wanted in constraint.wanted.items():
            levels = study.factors.get(key, [study.overrides.get(key)])
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if not any(is_level(level, value) for level in levels) and key in study.factors:
                    texts = ", ".join(_level_text(level, levels) for level in levels)
                    raise UserError(
                        f"{study.name}.constraints: {value!r} is no level of {key}; it has {texts}"
                    )


def _label(factors: Mapping[str, list[Any]], levels: Mapping[str, Any]) -> str:
    texts = {key: _level_text(value, factors[key]) for key, value in levels.items()}
    if not texts:
        return "base"
    if len(factors) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{key}={text}" for key, text in texts.items())


def _level_text(value: Any, among: list[Any]) -> str:
    """A level in few words: the kind alone where that tells it from the factor's other levels."""
    if not isinstance(value, Mapping):
        return str(value)
    kind = str(value.get("kind", ""))
    same_kind = [
        v for v in among if v == kind or (isinstance(v, Mapping) and v.get("kind") == kind)
    ]
    options = ", ".join(f"{key}={option}" for key, option in value.items() if key != "kind")
    if kind and len(same_kind) == 1:
        return kind
    return f"{kind}({options})"


def _recipe(study: Study, label: str, chosen: Values) -> Recipe:
    several = len(study.factors) or len(study.arms) > 1
    where = f"{study.name}, arm '{label}'" if several else study.name
    values: dict[str, Any] = dict(study.base)
    try:
        # A whole component first, then the options that go into it.
        for key in sorted(chosen, key=lambda key: key.count(".")):
            values = with_value(values, key, chosen[key])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Recipe.parse(values, where)


def _inspect(recipe: Recipe, label: str) -> tuple[int, tuple[str, ...]]:
    parts = recipe.model_dump(
        mode="json", include={"data", "model", "norm", "activation", "dropout"}
    )
    try:
        facts = describe(recipe.data)
        batch = min(smallest_batch(recipe), 2)
        parameters, notes = _built(
            json.dumps(parts, sort_keys=True), facts.shape, facts.num_classes, batch
        )
    except UserError as error:
        raise UserError(f"arm '{label}': {error}") from None
    return parameters, (*notes, *facts.notes)


def smallest_batch(recipe: Recipe) -> int:
    """Images in the smallest training batch: the last of an epoch may be ragged."""
    images = describe(recipe.data).train_images
    kept = images - held_out(images, recipe.validation)
    return kept % recipe.batch_size or min(recipe.batch_size, kept)


@cache
def _built(
    parts: str, shape: tuple[int, int, int], num_classes: int, batch: int
) -> tuple[int, tuple[str, ...]]:
    """Parameters and notes of a model, looked at without allocating it or reading the data."""
    recipe = Recipe.parse(json.loads(parts))
    model, notes = build(recipe, shape, num_classes, device="meta")
    layer_table(model, shape, images=batch)
    return parameter_count(model), tuple(notes)
