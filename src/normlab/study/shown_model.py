"""A model that is shown by itself: which recipe it is built for, without a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from normlab.data import Facts, describe
from normlab.errors import UserError, unknown
from normlab.recipe import MODELS, Recipe, with_value
from normlab.recipe.models import OwnModel


class ShownModel(NamedTuple):
    """What a model is built for.

    Attributes:
        name: As it was asked for.
        recipe: With batch norm and the data the model is made for, where nothing else is said.
        facts: Of these data.
    """

    name: str
    recipe: Recipe
    facts: Facts

    @property
    def words(self) -> str:
        """Model, norm and data."""
        channels, height, width = self.facts.shape
        return (
            f"{self.name} with norm {self.recipe.norm.kind} on {self.recipe.data.kind} "
            f"({channels}x{height}x{width}, {self.facts.num_classes} classes)"
        )


def shown_model(name: str, overrides: Mapping[str, object]) -> ShownModel:
    """The recipe a model is shown with.

    Args:
        name: A model's kind, or an import path.
        overrides: Recipe values by dotted key.

    Raises:
        UserError: There is no such model, or a mistake in a value.
    """
    values: dict[str, object] = {"model": name, "norm": "batch"}
    if name in MODELS:
        values["data"] = MODELS[name].made_for
    elif not OwnModel.accepts(name):
        raise UserError(unknown("model", name, MODELS))
    elif "data" not in overrides:
        raise UserError(f"model '{name}' is yours: say for which images with --set data=NAME")
    for key, value in overrides.items():
        values = with_value(values, key, value)
    recipe = Recipe.parse(values)
    return ShownModel(name, recipe, describe(recipe.data))
