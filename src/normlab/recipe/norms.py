"""The norms a recipe can name, with their options. The layers themselves are in `normlab.norms`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from normlab.recipe.base import Component, kinds, shorthand

PositiveInt = Annotated[int, Field(ge=1)]
Eps = Annotated[float, Field(gt=0)]


class NoNorm(Component):
    """No normalization: the identity."""

    title: ClassVar[str] = "norm 'none'"
    kind: Literal["none"]


class BatchNorm(Component):
    """Statistics over batch, height and width, per channel (Ioffe & Szegedy 2015)."""

    title: ClassVar[str] = "norm 'batch'"
    kind: Literal["batch"]
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class InstanceNorm(Component):
    """Statistics over height and width, per image and channel (Ulyanov et al. 2016)."""

    title: ClassVar[str] = "norm 'instance'"
    kind: Literal["instance"]
    eps: Eps = 1e-5
    affine: bool = True


class GroupNorm(Component):
    """Statistics over height, width and a group of channels, per image (Wu & He 2018)."""

    title: ClassVar[str] = "norm 'group'"
    kind: Literal["group"]
    groups: PositiveInt | None = None
    channels_per_group: PositiveInt | None = None
    eps: Eps = 1e-5
    affine: bool = True

    @model_validator(mode="after")
    def _one_size(self) -> GroupNorm:
        # No default on purpose: 32 groups on 16 channels would silently be instance norm.
        if (self.groups is None) == (self.channels_per_group is None):
            raise ValueError(
                "norm 'group' needs exactly one of 'groups' and 'channels_per_group', "
                "for example {kind: group, groups: 4}"
            )
        return self


class LayerNorm(Component):
    """Statistics over channels, height and width, per image (Ba et al. 2016)."""

    title: ClassVar[str] = "norm 'layer'"
    kind: Literal["layer"]
    eps: Eps = 1e-5
    affine: bool = True


NORMS = kinds(NoNorm, BatchNorm, InstanceNorm, GroupNorm, LayerNorm)

NormSpec = Annotated[
    Annotated[
        NoNorm | BatchNorm | InstanceNorm | GroupNorm | LayerNorm, Field(discriminator="kind")
    ],
    BeforeValidator(shorthand("kind", str)),
]
