"""What a plan says of a model: it is built without values, once for all arms that share it."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from torch import nn

from normlab.data import Facts
from normlab.models import (
    build,
    drops_before_norm,
    layer_count,
    layer_table,
    parameter_count,
    roles,
)
from normlab.models.build import MODEL_KEYS
from normlab.norms import is_norm
from normlab.recipe import Recipe

_SOME = 0.5
"""A probability in place of any other."""


class ModelLook(NamedTuple):
    """What is seen of a model.

    Attributes:
        parameters: Trainable values.
        layers: Layers with weights on the longest way through it.
        notes: Where it gets something other than the recipe wants.
        norm: Its first norm, without values; None where it has none.
        drops_before_norm: Whether a norm is registered behind a layer that drops values.
        has_gains: Whether its norms have gains.
    """

    parameters: int
    layers: int
    notes: tuple[str, ...]
    norm: nn.Module | None
    drops_before_norm: bool
    has_gains: bool


def look_at_model(recipe: Recipe, facts: Facts, batch: int, code: str | None) -> ModelLook:
    """Build a recipe's model without allocating it or reading the data.

    Args:
        recipe: Whose model.
        facts: Of its data.
        batch: Images of the batch that is traced.
        code: Hash of the own code it rests on: where that is new, so is the look.

    Raises:
        UserError: The model cannot be built as asked.
    """
    return _built(model_parts(recipe), facts.shape, facts.num_classes, batch, code)


def model_parts(recipe: Recipe) -> str:
    """What of a recipe makes its model, as JSON: equal for arms that share a look."""
    parts = recipe.model_dump(mode="json", include=set(MODEL_KEYS))
    # Arms that differ in how much they drop, and not where, have one look at one model.
    p = parts["dropout"]["p"]
    parts["dropout"]["p"] = (
        [_SOME * (each > 0) for each in p] if isinstance(p, list) else _SOME * (p > 0)
    )
    return json.dumps(parts, sort_keys=True)


@cache
def _built(
    parts: str, shape: tuple[int, int, int], num_classes: int, batch: int, code: str | None
) -> ModelLook:
    recipe = Recipe.parse(json.loads(parts))
    built = build(recipe, shape, num_classes, device="meta")
    return ModelLook(
        layers=layer_count(layer_table(built.model, shape, images=batch)),
        parameters=parameter_count(built.model),
        notes=built.notes,
        norm=next(filter(is_norm, built.model.modules()), None),
        drops_before_norm=drops_before_norm(built.model),
        has_gains="norm_gain" in roles(built.model).values(),
    )
