"""What a model asks the recipe for: a norm here, an activation there, dropout in this slot."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from normlab import norms
from normlab.convolutions import Conv2d
from normlab.errors import UserError
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.scaled_ws import ScaledActivation
from normlab.recipe import Recipe
from normlab.recipe.models import Model
from normlab.regularizers import DROPOUTS, StochasticDepth


class Slots:
    """Makes the parts of a model that a recipe decides, and takes notes on what it gave.

    Attributes:
        notes: Where the model got something other than the recipe wanted, in one sentence each.
        kind: The class of the recipe's norm, and what it says of itself: `traits`.
        norms: How many norms the model asked for: what a trained model is compared with. Under
            `none` nothing stands there; under `scaled_ws` it is the standardized convolutions.
        dropout_slots: The dropout slots the model has.
        residual_branches: How many residual branches stochastic depth acts on.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.kind = norms.class_of(recipe.norm.kind)
        self.traits = norms.traits(self.kind)
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
        if self.traits.is_parametrization:
            return self.activation() if activate else norms.NoNorm(num_channels)
        self.norms += 1
        if "groups" in options:
            options = self._legal(num_channels, options)
        if activate and not self.traits.contains_activation:
            options["activation"] = self.recipe.activation
        try:
            return norms.make(kind, num_channels, **options)
        except TypeError as error:  # an own kind's options are checked by its signature alone
            raise UserError(f"norm '{kind}' cannot be made: {error}") from None

    def activation(self, *, scaled: bool = True) -> nn.Module:
        """The recipe's activation; scaled to keep the variance where convolutions are the norm.

        Not `scaled` is that of a convolution without the norm.
        """
        if scaled and self.traits.is_parametrization:
            return ScaledActivation(self.recipe.activation)
        return ACTIVATIONS[self.recipe.activation]()

    def conv(
        self,
        channels: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        before_norm: bool,
        normed: bool | None = None,
    ) -> nn.Conv2d:
        """A convolution, with a bias if the model's `conv_bias` says so.

        Under `auto` a convolution in front of a norm has none. Under norm `scaled_ws` the `normed`
        ones are the parametrized ones: where the norm stands elsewhere than behind, say so.
        """
        bias = self._conv_bias(before_norm=before_norm)
        normed = before_norm if normed is None else normed
        make: type[nn.Conv2d] = Conv2d
        if normed and self.traits.is_parametrization:
            self.norms += 1
            make = cast("type[nn.Conv2d]", self.kind)
        return make(channels, width, kernel, stride=stride, padding=padding, bias=bias)

    def dropout(self, slot: int, *, p_of_next: bool = False) -> nn.Module:
        """The recipe's dropout for a slot of the model's, counted from 1.

        With `p_of_next` a chosen slot takes the probability of the next chosen one, if there is.
        """
        self.dropout_slots.add(slot)
        spec = self.recipe.dropout
        options = {k: v for k, v in spec.options.items() if k not in {"p", "slots"}}
        chosen = spec.chosen or ()
        shifted = p_of_next and slot in chosen and slot + 1 in chosen
        return DROPOUTS[spec.kind](spec.at(slot + 1 if shifted else slot), **options)

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
        model, dropout = self.recipe.model.kind, self.recipe.dropout
        asked = set(dropout.chosen or ({1} if dropout.at(1) else ()))
        if absent := sorted(asked - self.dropout_slots):
            has = ", ".join(map(str, sorted(self.dropout_slots))) or "none"
            raise UserError(f"dropout: model '{model}' has no slot {absent[0]}; it has {has}")
        if self.recipe.stochastic_depth.p and not self.residual_branches:
            raise UserError(f"stochastic_depth: model '{model}' has no residual branches")

    def _conv_bias(self, *, before_norm: bool) -> bool:
        choice = cast("Model", self.recipe.model).conv_bias
        normed = before_norm and not self.traits.keeps_conv_bias
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
