"""What a recipe can do against overfitting beside penalties: dropout, clipping, early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from normlab.recipe.base import Component, Spec, catalog, chosen_from, listed, shorthand
from normlab.recipe.training import LARGEST, Fraction, Role, as_roles

Slot = Annotated[int, Field(ge=1)]


class AnyDropout(Component):
    """What every kind of dropout has: probabilities, and the slots of the model they stand in.

    A model has slots 1, 2, ... (a residual net in every block). `p` is one probability for all
    chosen slots, or a list with one for each of them; `slots` is a list of slots, or k for the
    first k; left out, every slot is chosen, or as many as `p` lists.
    """

    p: Annotated[Fraction | tuple[Fraction, ...], BeforeValidator(listed)] = 0.0
    slots: Annotated[Slot | tuple[Slot, ...] | None, BeforeValidator(listed)] = None

    @model_validator(mode="after")
    def _a_p_for_each_slot(self) -> AnyDropout:
        chosen = self.chosen
        if isinstance(self.slots, tuple) and len(set(self.slots)) < len(self.slots):
            raise ValueError(f"slots is {list(self.slots)}: a slot is named twice")
        if isinstance(self.p, tuple) and len(self.p) != len(chosen or ()):
            raise ValueError(
                f"p lists {len(self.p)} probabilities for {len(chosen or ())} slots: "
                "one for each is needed"
            )
        return self

    @property
    def chosen(self) -> tuple[int, ...] | None:
        """The slots that are named, or None where every slot of the model is meant."""
        if isinstance(self.slots, tuple):
            return self.slots
        count = self.slots or (len(self.p) if isinstance(self.p, tuple) else None)
        return None if count is None else tuple(range(1, count + 1))

    def at(self, slot: int) -> float:
        """The probability in a slot, 0 where the slot is not chosen; slots count from 1."""
        if self.chosen is not None and slot not in self.chosen:
            return 0.0
        return self.p if isinstance(self.p, float) else self.p[self.chosen.index(slot)]  # type: ignore[union-attr]


class Dropout(AnyDropout):
    """Single values dropped, the rest scaled up (Srivastava et al. 2014)."""

    title: ClassVar[str] = "dropout"
    kind: Literal["dropout"] = "dropout"


class SpatialDropout(AnyDropout):
    """Whole channels of an image dropped (Tompson et al. 2015)."""

    title: ClassVar[str] = "dropout 'spatial_dropout'"
    kind: Literal["spatial_dropout"]


class DropBlock(AnyDropout):
    """Squares of a channel dropped (Ghiasi, Lin & Le 2018); `p` is the share of values dropped."""

    title: ClassVar[str] = "dropout 'drop_block'"
    kind: Literal["drop_block"]
    block_size: Annotated[int, Field(ge=1)] = 7


DROPOUTS = catalog(Dropout, SpatialDropout, DropBlock)
"""kind -> the options of a dropout; the layer is in `normlab.regularizers`."""


def _dropout(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"p": value}
    if isinstance(value, Mapping) and "kind" not in value:
        value = {"kind": "dropout", **value}
    return value


def _one_form(spec: AnyDropout) -> AnyDropout:
    """Equal trainings are equal recipes: off is off, and slots stand in their order."""
    chosen = spec.chosen
    if chosen is None:
        return spec if spec.p else Dropout()
    values = tuple(spec.at(slot) for slot in sorted(chosen))
    if not any(values):
        return Dropout()
    p = values[0] if len(set(values)) == 1 else values
    return spec.model_copy(update={"p": p, "slots": tuple(sorted(chosen))})


DropoutSpec = Annotated[
    SerializeAsAny[AnyDropout],
    AfterValidator(_one_form),
    BeforeValidator(chosen_from(DROPOUTS)),
    BeforeValidator(_dropout),
]


class StochasticDepth(Spec):
    """Residual branches dropped per image (Huang et al. 2016).

    `p` is that of the last block; under `linear` block l of L has p * l / L.
    """

    title: ClassVar[str] = "stochastic_depth"
    p: Fraction = 0.0
    rule: Literal["linear", "constant"] = "linear"

    def at(self, block: int, blocks: int) -> float:
        """The probability of a block, counted from 1."""
        return self.p * block / blocks if self.rule == "linear" else self.p


StochasticDepthSpec = Annotated[
    StochasticDepth,
    AfterValidator(lambda spec: spec if spec.p else StochasticDepth()),
    BeforeValidator(shorthand("p", int, float)),
]

_BODY = tuple(sorted(set(get_args(Role)) - {"head_weight", "head_bias"}))


class Agc(Spec):
    """Adaptive gradient clipping (Brock et al. 2021); off without a `clip`."""

    title: ClassVar[str] = "agc"
    clip: Annotated[float, Field(gt=0, le=LARGEST)] | None = None
    eps: Annotated[float, Field(gt=0)] = 1e-3
    roles: Annotated[tuple[Role, ...], Field(strict=False)] = _BODY
    """Parameter roles whose gradients are clipped, or `all`. The default leaves the head out."""
    must_clip: bool = False
    """Hold a trial in which nothing was ever clipped for invalid."""

    _roles = field_validator("roles", mode="before")(as_roles)

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Agc:
        if self.clip is None and self.model_fields_set - {"clip"}:
            raise ValueError("agc needs a clip, for example {clip: 0.02}")
        return self


AgcSpec = Annotated[Agc, BeforeValidator(shorthand("clip", int, float))]


class EarlyStopping(Spec):
    """The end of a training that no longer improves; off without a `patience`."""

    title: ClassVar[str] = "early_stopping"
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without an improvement after which training ends."""
    metric: Literal["loss", "accuracy", "macro_f1"] = "loss"
    split: Literal["validation", "train"] = "validation"
    min_delta: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    """The least change that is an improvement."""

    @field_validator("split", mode="before")
    @classmethod
    def _never_test(cls, value: object) -> object:
        if value == "test":
            raise ValueError("the test images select nothing: 'validation' and 'train' are allowed")
        return value

    @model_validator(mode="after")
    def _nothing_ignored(self) -> EarlyStopping:
        if self.patience is None and self.model_fields_set - {"patience"}:
            raise ValueError("early_stopping needs a patience, for example {patience: 20}")
        return self


EarlyStoppingSpec = Annotated[EarlyStopping, BeforeValidator(shorthand("patience", int))]

REGULARIZERS: dict[str, str] = {
    "l1": "Penalty strength * sum |w| on the loss, over parameter roles.",
    "l2": "Penalty strength / 2 * sum w^2 on the loss, over parameter roles.",
    "weight_decay": "Decay decoupled from the loss (Loshchilov & Hutter 2019).",
    **{kind: spec.describe() for kind, spec in DROPOUTS.items()},
    "stochastic_depth": StochasticDepth.describe(),
    "agc": Agc.describe(),
    "clip_grad_norm": "The whole gradient scaled down to a norm (Pascanu et al. 2013).",
    "early_stopping": EarlyStopping.describe(),
}
"""Name -> description: recipe keys, and the kinds of `dropout`."""
