"""What a model asks the recipe for: a norm here, an activation there, dropout in this slot."""

from __future__ import annotations

from typing import Any

from torch import nn

from normlab import norms
from normlab.norms.activations import ACTIVATIONS
from normlab.recipe import Recipe
from normlab.regularizers import Dropout


class Slots:
    """Makes the parts of a model that a recipe decides, and takes notes on what it gave.

    Attributes:
        notes: Where the model got something other than the recipe wanted, in one sentence each.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.notes: list[str] = []

    def norm(self, num_channels: int, *, activate: bool = False) -> nn.Module:
        """The recipe's norm for `num_channels`, with the recipe's activation behind it if asked.

        A group count that does not divide the channels becomes the largest below it that does,
        and is noted.
        """
        options = self.recipe.norm.options
        if self.recipe.norm.kind == "group":
            options = self._legal(num_channels, options)
        if activate:
            options["activation"] = self.recipe.activation
        return norms.make(self.recipe.norm.kind, num_channels, **options)

    def activation(self) -> nn.Module:
        """The recipe's activation, standing alone."""
        return ACTIVATIONS[self.recipe.activation]()

    def dropout(self) -> nn.Module:
        """The recipe's dropout."""
        return Dropout(self.recipe.dropout.p)

    def conv_bias(self, *, before_norm: bool) -> bool:
        """Whether a convolution carries a bias; under `auto` one in front of a norm does not."""
        choice = self.recipe.model.conv_bias
        return (
            not (before_norm and self.recipe.norm.kind != "none")
            if choice == "auto"
            else (choice == "always")
        )

    def _legal(self, num_channels: int, options: dict[str, Any]) -> dict[str, Any]:
        per_group = options["channels_per_group"]
        wanted = options["groups"] or max(1, num_channels // per_group)
        groups = norms.legal_groups(num_channels, wanted)
        if groups != wanted or (per_group and num_channels % per_group):
            asked = f"{per_group} channels per group" if per_group else f"{wanted} groups"
            became = ", which is instance norm" if groups == num_channels else ""
            self.notes.append(
                f"{asked} wanted of {num_channels} channels: {groups} groups given{became}"
            )
        return {**options, "groups": groups, "channels_per_group": None}
