"""What a model asks the recipe for: a norm here, an activation there, dropout in this slot."""

from __future__ import annotations

from typing import Any

from torch import nn

from normlab import norms
from normlab.errors import UserError
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.scaled_ws import ScaledActivation, ScaledWSConv2d
from normlab.recipe import Recipe
from normlab.regularizers import DROPOUTS, StochasticDepth


class Slots:
    """Makes the parts of a model that a recipe decides, and takes notes on what it gave.

    Attributes:
        notes: Where the model got something other than the recipe wanted, in one sentence each.
        norms: How many norms the model asked for: what a trained model is held against.
        dropout_slots: The dropout slots the model has.
        residual_branches: How many residual branches stochastic depth acts on.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.notes: list[str] = []
        self.norms = 0
        self.dropout_slots: set[int] = set()
        self.residual_branches = 0

    def norm(self, num_channels: int, *, activate: bool = False) -> nn.Module:
        """The recipe's norm for `num_channels`, with the recipe's activation behind it if asked.

        A group count that does not divide the channels becomes the largest below it that does,
        and is noted.
        """
        kind, options = self.recipe.norm.kind, self.recipe.norm.options
        self.norms += 1
        if kind == "scaled_ws":
            return self.activation() if activate else norms.NoNorm(num_channels)
        if "groups" in options:
            options = self._legal(num_channels, options)
        if activate and not getattr(norms.by_name(kind), "contains_activation", False):
            options["activation"] = self.recipe.activation
        try:
            return norms.make(kind, num_channels, **options)
        except TypeError as error:  # an own kind's options are checked by its signature alone
            raise UserError(f"norm '{kind}' cannot be made: {error}") from None

    def activation(self) -> nn.Module:
        """The recipe's activation alone; under `scaled_ws` scaled to keep the variance."""
        if self.recipe.norm.kind == "scaled_ws":
            return ScaledActivation(self.recipe.activation)
        return ACTIVATIONS[self.recipe.activation]()

    def conv(
        self, channels: int, width: int, kernel: int, *, padding: int = 0, before_norm: bool
    ) -> nn.Conv2d:
        """A convolution, with a bias if the model's `conv_bias` says so.

        Under `auto` a convolution in front of a norm has none. Under norm `scaled_ws` those that a
        norm would follow are the parametrized ones.
        """
        bias = self._conv_bias(before_norm=before_norm)
        scaled = before_norm and self.recipe.norm.kind == "scaled_ws"
        make = ScaledWSConv2d if scaled else nn.Conv2d
        return make(channels, width, kernel, padding=padding, bias=bias)

    def dropout(self, slot: int) -> nn.Module:
        """The recipe's dropout for a slot of the model's, counted from 1."""
        self.dropout_slots.add(slot)
        spec = self.recipe.dropout
        options = {k: v for k, v in spec.options.items() if k not in {"p", "slots"}}
        return DROPOUTS[spec.kind](spec.at(slot), **options)

    def stochastic_depth(self, block: int, blocks: int) -> nn.Module:
        """The recipe's stochastic depth for the branch of a residual block, counted from 1."""
        self.residual_branches += 1
        return StochasticDepth(self.recipe.stochastic_depth.at(block, blocks))

    def refuse_what_is_left(self) -> None:
        """Refuse a recipe that names parts the finished model does not have.

        Raises:
            UserError: A dropout slot that is not there, or stochastic depth without a residual
                branch.
        """
        model, asked = self.recipe.model.kind, set(self.recipe.dropout.chosen or ())
        if absent := sorted(asked - self.dropout_slots):
            has = ", ".join(map(str, sorted(self.dropout_slots))) or "none"
            raise UserError(f"dropout: model '{model}' has no slot {absent[0]}; it has {has}")
        if self.recipe.stochastic_depth.p and not self.residual_branches:
            raise UserError(f"stochastic_depth: model '{model}' has no residual branches")

    def _conv_bias(self, *, before_norm: bool) -> bool:
        choice = self.recipe.model.conv_bias
        normed = before_norm and self.recipe.norm.kind not in {"none", "scaled_ws"}
        return not normed if choice == "auto" else choice == "always"

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
