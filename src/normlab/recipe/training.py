"""How a recipe trains: optimizers, schedules and penalties, with their options."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from normlab.recipe.base import Component, Spec, catalog, chosen_from, shorthand

LARGEST = 1e30
"""Bound on learning rates and strengths: far beyond use, and products still fit a float32."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Role = Literal["weight", "bias", "norm_gain", "norm_bias", "gate", "head_weight", "head_bias"]
"""What a parameter is, by the type of its module; see `normlab.models.roles`."""


class Sgd(Component):
    """Stochastic gradient descent with the recipe's momentum."""

    title: ClassVar[str] = "optimizer 'sgd'"
    kind: Literal["sgd"]
    nesterov: bool = False


class Adam(Component):
    """Adam (Kingma & Ba 2015); the recipe's momentum is its beta1."""

    title: ClassVar[str] = "optimizer 'adam'"
    kind: Literal["adam"]
    beta2: Fraction = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8


class AdamW(Component):
    """Adam with the recipe's weight_decay decoupled from the loss (Loshchilov & Hutter 2019)."""

    title: ClassVar[str] = "optimizer 'adamw'"
    kind: Literal["adamw"]
    beta2: Fraction = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8


OPTIMIZERS = catalog(Sgd, Adam, AdamW)
"""kind -> the options of an optimizer."""
OptimizerSpec = Annotated[Sgd | Adam | AdamW, BeforeValidator(chosen_from(OPTIMIZERS))]


class Constant(Component):
    """The learning rate stays at `lr`."""

    title: ClassVar[str] = "schedule 'constant'"
    kind: Literal["constant"]


class Step(Component):
    """`lr` times `gamma` for every `step_size` whole epochs done."""

    title: ClassVar[str] = "schedule 'step'"
    kind: Literal["step"]
    step_size: Annotated[int, Field(ge=1)]
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1


class Cosine(Component):
    """From `lr` down to `final_lr` along half a cosine (Loshchilov & Hutter 2017)."""

    title: ClassVar[str] = "schedule 'cosine'"
    kind: Literal["cosine"]
    final_lr: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    per: Literal["step", "epoch"] = "step"


class OneCycle(Component):
    """Up to `lr`, then down, momentum the other way round (Smith & Topin 2018)."""

    title: ClassVar[str] = "schedule 'one_cycle'"
    kind: Literal["one_cycle"]
    pct_start: Share = 0.3
    div_factor: Annotated[float, Field(ge=1)] = 25.0
    final_div_factor: Annotated[float, Field(ge=1)] = 1e4
    cycle_momentum: bool = True
    base_momentum: Fraction = 0.85
    max_momentum: Fraction = 0.95

    @model_validator(mode="after")
    def _nothing_ignored(self) -> OneCycle:
        if not self.cycle_momentum and {"base_momentum", "max_momentum"} & self.model_fields_set:
            raise ValueError("base_momentum and max_momentum need cycle_momentum: true")
        return self


SCHEDULES = catalog(Constant, Step, Cosine, OneCycle)
"""kind -> the options of a learning rate schedule."""
ScheduleSpec = Annotated[
    Constant | Step | Cosine | OneCycle, BeforeValidator(chosen_from(SCHEDULES))
]


def as_roles(value: object) -> object:
    """Roles in their one order; `all` is every role.

    Raises:
        ValueError: None is named.
    """
    if value == "all":
        return tuple(sorted(get_args(Role)))
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("name at least one role")
        return tuple(sorted(set(map(str, value))))
    return value


class Penalty(Spec):
    """A strength and the parameter roles it acts on: for `l1`, `l2` and `weight_decay`."""

    title: ClassVar[str] = "a penalty"
    strength: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    roles: Annotated[tuple[Role, ...], Field(strict=False)] = ("head_weight", "weight")
    """Parameter roles, or `all`. The default spares biases and norms."""

    _roles = field_validator("roles", mode="before")(as_roles)


def _off_is_default(penalty: Penalty) -> Penalty:
    # A penalty of strength 0 is off whatever its roles: one identity for one training.
    return penalty if penalty.strength else Penalty()


PenaltySpec = Annotated[
    Penalty, BeforeValidator(shorthand("strength", int, float)), AfterValidator(_off_is_default)
]
