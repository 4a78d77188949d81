"""From a study's factors, constraints and written-out arms to its cells, and to their recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import NamedTuple

from normlab.arms import is_level, level_text
from normlab.errors import UserError, unknown
from normlab.recipe import Recipe, value_text, with_value
from normlab.study.ranges import Point, Range, points_of
from normlab.study.spec import Study, Values

MOST_CELLS = 10_000
"""Of a grid, those that constraints leave out among them: each is looked at."""


class Cell(NamedTuple):
    """An arm before it is a recipe.

    Attributes:
        label: Short name.
        levels: The factors' values that make it.
        overrides: Recipe values that hold in it, whatever base and levels say.
    """

    label: str
    levels: Values
    overrides: Values


def cells(study: Study) -> Iterator[Cell]:
    """Every arm: the grid, then the arms written out.

    Raises:
        UserError: A constraint names what is not there, or the grid is too large.
    """
    _check_constraints(study)
    seen: set[str] = set()
    factors = {key: v for key, v in levels_of(study).items() if key not in study.overrides}
    axes = _axes(study)
    count = prod(map(len, axes))
    if count > MOST_CELLS:
        sizes = " x ".join(str(len(levels)) for levels in axes)
        raise UserError(
            f"{study.name}.factors: {sizes} levels are {count:,} cells: "
            f"at most {MOST_CELLS:,} are allowed"
        )
    if study.factors or not study.arms:
        for point in product(*axes):
            together = {key: level for levels in point for key, level in levels.items()}
            levels = {key: together[key] for key in factors}
            cell = {**study.base, **levels, **study.overrides}
            if any(c.exclude and c.matches(cell) for c in study.constraints):
                continue
            outside = {c.nest for c in study.constraints if c.nest and not c.matches(cell)}
            levels = {key: value for key, value in levels.items() if key not in outside}
            text = json.dumps(levels, sort_keys=True, default=str)
            if text not in seen:
                seen.add(text)
                overrides = {k: v for k, v in study.overrides.items() if k not in outside}
                yield Cell(_label(factors, levels), levels, overrides)
    for arm in study.arms:
        levels = {key: v for key, v in arm.set.items() if key not in study.overrides}
        yield Cell(arm.label, levels, study.overrides)


def levels_of(study: Study) -> dict[str, list[object]]:
    """Every factor's different levels; those of ranges are drawn.

    Raises:
        UserError: Points of the ranges cannot be drawn as asked.
    """
    points = _points(study)
    return {
        key: list({value_text(point[key]): point[key] for point in points}.values())
        if isinstance(of, Range)
        else of
        for key, of in study.factors.items()
    }


def _points(study: Study) -> list[Point]:
    """The points at which the factors with a range vary together; empty if there are none."""
    ranges = {key: of for key, of in study.factors.items() if isinstance(of, Range)}
    try:
        return points_of(ranges)
    except UserError as error:
        raise UserError(f"{study.name}.factors: {error}") from None


def _axes(study: Study) -> list[list[Values]]:
    """What the grid is the product of: each factor alone, those with a range together."""
    axes: dict[str, list[Values]] = {}
    points = _points(study)
    free = [key for key in study.factors if key not in study.overrides]
    for key in free:
        levels = study.factors[key]
        if isinstance(levels, Range):
            axes["ranges"] = [{k: v for k, v in p.items() if k in free} for p in points]
        else:
            axes[f"factor {key}"] = [{key: level} for level in levels]
    return list(axes.values())


def recipe_of(study: Study, cell: Cell) -> Recipe:
    """The whole recipe of an arm.

    Raises:
        UserError: It is not valid; the message names study and arm.
    """
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


def _check_constraints(study: Study) -> None:
    """Every key is a factor, and every level named is one of its levels.

    A variant of a study may have fewer levels than its constraints speak of.
    """
    for constraint in study.constraints:
        for key in filter(None, [*constraint.wanted, constraint.nest]):
            if key not in study.factors and key not in study.overrides:
                known = unknown("factor", key, study.factors)
                message = known if study.factors else f"'{key}' is no factor: there are none"
                raise UserError(f"{study.name}.constraints: {message}")
        for key, wanted in constraint.wanted.items():
            levels = levels_of(study).get(key, [study.overrides.get(key)])
            for value in wanted if isinstance(wanted, list) else [wanted]:
                here = study.varied or any(is_level(level, value) for level in levels)
                if not here and key in study.factors:
                    texts = ", ".join(level_text(level, levels) for level in levels)
                    raise UserError(
                        f"{study.name}.constraints: {value!r} is no level of {key}; it has {texts}"
                    )


def _label(factors: Mapping[str, list[object]], levels: Mapping[str, object]) -> str:
    texts = {key: level_text(value, factors[key]) for key, value in levels.items()}
    if not texts:
        return "base"
    every = [level for values in factors.values() for level in values]
    if len(factors) == 1 and all(isinstance(level, str | Mapping) for level in every):
        return next(iter(texts.values()))  # names speak for themselves, numbers do not
    return ", ".join(f"{key}={text}" for key, text in texts.items())
