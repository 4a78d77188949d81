"""What a source tried and what its final models have, from the studies that repeat it.

The levels are read off the recipes of the studies' arms, as published, for which the source printed
numbers: an arm that normlab added is none of its. A study tries what differs between its arms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.recipe.augment import Cutout
from normlab.recipe.models import Residual
from normlab.reports.typeset import Table
from normlab.sentences.scoreboard import Scoreboard
from normlab.study.cells import cells, recipe_of
from normlab.study.files import bundled
from normlab.study.resolve import outline
from normlab.study.spec import Study

NONE = "–"
_CONTROLLED = "-controlled"
_Level = float | str | None


class Quantity(NamedTuple):
    """A quantity that models differ in.

    Attributes:
        name: In words.
        row: The number of the source's sentence that lists its candidates, if one does.
        level: What a recipe has of it; None where it has none of it.
    """

    name: str
    row: int | None
    level: Callable[[Recipe], _Level]


def _norm_slots(recipe: Recipe) -> _Level:
    return recipe.model.norm_slots if isinstance(recipe.model, Residual) else None


def _dropout_slots(recipe: Recipe) -> _Level:
    return len(recipe.dropout.chosen or ())


def _one_p(recipe: Recipe) -> _Level:
    p = recipe.dropout.p
    return None if isinstance(p, tuple) else p or None


def _several_p(recipe: Recipe) -> _Level:
    p = recipe.dropout.p
    return " / ".join(f"{each:g}" for each in p) if isinstance(p, tuple) else None


def _clip(recipe: Recipe) -> _Level:
    return recipe.agc.clip or None


def _copies(recipe: Recipe) -> _Level:
    return next((each.copies for each in recipe.augment if isinstance(each, Cutout)), None)


def _transforms(recipe: Recipe) -> _Level:
    kinds = [each.kind for each in recipe.augment if not isinstance(each, Cutout)]
    return " and ".join(kinds) or None


QUANTITIES = {
    "A": (
        Quantity("BatchNorm layers of a block", 41, _norm_slots),
        Quantity("Dropout layers of a block", 42, _dropout_slots),
        Quantity("Dropout probability of every layer", 43, _one_p),
        Quantity("Dropout probabilities, layer by layer", 44, _several_p),
        Quantity("Clip of adaptive gradient clipping", 45, _clip),
        Quantity("Batch size", 45, lambda recipe: recipe.batch_size),
        Quantity("Masked copies of an image (cutout)", 46, _copies),
        Quantity("Transforms", None, _transforms),
    )
}
"""Source -> what its table of candidates is about."""


class Candidates(NamedTuple):
    """The levels of one quantity.

    Attributes:
        quantity: Which.
        tried: For each study that tries it its levels, in order.
        final: How many of the final models have each level.
    """

    quantity: Quantity
    tried: dict[str, list[_Level]]
    final: Counter[_Level]


def candidates(source: str, final: str) -> list[Candidates]:
    """What the studies of a source try, and what its final models have.

    Args:
        source: Its letter.
        final: The study of its final models. The studies whose names begin as this one's does
            are those that try; controlled ones change what the source did, and are left out, and
            so is an arm without published numbers.

    Raises:
        UserError: There is no table of candidates of this source, or no such study.
    """
    if source not in QUANTITIES:
        known = ", ".join(QUANTITIES)
        raise UserError(f"source {source} has no table of candidates; {known} has")
    begin = final.rpartition("-")[0]
    names = [
        name
        for name in bundled()
        if name.startswith(f"{begin}-") and not name.endswith(_CONTROLLED) and name != final
    ]
    found = []
    for quantity in QUANTITIES[source]:
        levels = {name: [quantity.level(one) for one in _recipes(name)] for name in names}
        tried = {name: _ordered(each) for name, each in levels.items() if len(set(each)) > 1}
        found.append(
            Candidates(quantity, tried, Counter(quantity.level(one) for one in _recipes(final)))
        )
    return found


def candidates_table(board: Scoreboard, source: str, final: str) -> str:
    """The table in Markdown, with what the source says beside each quantity."""
    said = {row.number: row.sentence for row in board.rows}
    rows = []
    for one in candidates(source, final):
        quantity = one.quantity
        levels = _ordered([level for each in one.tried.values() for level in each])
        number = quantity.row
        rows.append([
            quantity.name,
            NONE if number is None else f"“{said[number]}” (row {number})",
            ", ".join(_text(level) for level in levels) or NONE,
            ", ".join(one.tried) or NONE,
            ", ".join(f"{_text(level)} ({one.final[level]})" for level in _ordered([*one.final])),
        ])  # fmt: skip
    names = ("Factor", "The source's Table 1", "Levels tried", "Tried in", "Final models with it")
    return Table([(name, "l") for name in names], rows).markdown()


@cache
def _recipes(name: str) -> tuple[Recipe, ...]:
    study = Study.load(name)
    printed = {arm for row in outline(study).published for arm in row.arms}
    return tuple(recipe_of(study, cell) for cell in cells(study) if cell.label in printed)


def _ordered(levels: list[_Level]) -> list[_Level]:
    """Each level once: none first, numbers by size, words as they come."""
    once = list(dict.fromkeys(levels))
    numbers = sorted(level for level in once if isinstance(level, int | float))
    nothing: list[_Level] = [None] if None in once else []
    return [*nothing, *numbers, *(level for level in once if isinstance(level, str))]


def _text(level: _Level) -> str:
    return "none" if level is None else level if isinstance(level, str) else f"{level:g}"
