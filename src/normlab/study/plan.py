"""From a study to its arms and trials, each trial with its id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from normlab.data import SOURCES, data_digest
from normlab.errors import UserError, unknown
from normlab.models import build, layer_table, parameter_count
from normlab.recipe import SEMANTICS, Recipe, trial_id, with_value
from normlab.store import TrialRow
from normlab.study.spec import Study


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
    arms: list[Arm] = []
    for label, levels in _cells(study):
        recipe = _recipe(study, label, levels)
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


def _cells(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label and levels of every arm: the grid, then the arms written out."""
    seen: list[dict[str, Any]] = []
    if study.factors or not study.arms:
        _check_constraints(study)
        for values in product(*study.factors.values()):
            levels = dict(zip(study.factors, values, strict=True))
            cell = {**study.base, **levels, **study.overrides}
            if any(c.exclude and c.matches(cell) for c in study.constraints):
                continue
            outside = {c.nest for c in study.constraints if c.nest and not c.matches(cell)}
            levels = {key: value for key, value in levels.items() if key not in outside}
            if levels not in seen:
                seen.append(levels)
                yield _label(study, levels), levels
    for arm in study.arms:
        yield arm.label, {k: v for k, v in arm.set.items() if k not in study.overrides}


def _check_constraints(study: Study) -> None:
    for constraint in study.constraints:
        named = [*constraint.exclude, *constraint.within, *filter(None, [constraint.nest])]
        for key in named:
            if key not in study.factors and key not in study.overrides:
                message = unknown("factor", key, study.factors)
                raise UserError(f"{study.name}.constraints: {message}")


def _label(study: Study, levels: Mapping[str, Any]) -> str:
    texts = {key: _level_text(value, study.factors[key]) for key, value in levels.items()}
    if not texts:
        return "base"
    if len(study.factors) == 1:
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


def _recipe(study: Study, label: str, levels: Mapping[str, Any]) -> Recipe:
    values: dict[str, Any] = dict(study.base)
    # A whole component first, then the options that go into it.
    for source in (levels, study.overrides):
        for key in sorted(source, key=lambda key: key.count(".")):
            values = with_value(values, key, source[key])
    several = len(study.factors) or len(study.arms) > 1
    return Recipe.parse(values, where=f"{study.name}, arm '{label}'" if several else study.name)


def _inspect(recipe: Recipe, label: str) -> tuple[int, tuple[str, ...]]:
    parts = recipe.model_dump(
        mode="json", include={"data", "model", "norm", "activation", "dropout"}
    )
    try:
        return _built(json.dumps(parts, sort_keys=True))
    except UserError as error:
        raise UserError(f"arm '{label}': {error}") from None


@cache
def _built(parts: str) -> tuple[int, tuple[str, ...]]:
    """Parameters and notes of a model, looked at without allocating it or reading the data."""
    recipe = Recipe.parse(json.loads(parts))
    source = SOURCES[recipe.data.kind]
    model, notes = build(recipe, source.shape, source.num_classes, device="meta")
    layer_table(model, source.shape)
    return parameter_count(model), tuple(notes)
