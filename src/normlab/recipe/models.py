"""The models a recipe can name, with their options. The networks are in `normlab.models`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, SerializeAsAny

from normlab.recipe.base import Component, catalog, chosen_from

ConvBias = Literal["auto", "always", "never"]
"""Whether convolutions carry a bias; `auto`: only those that no norm follows."""


class Model(Component):
    """What every model has; `made_for` names the data set it is shown with."""

    made_for: ClassVar[str]
    conv_bias: ConvBias = "auto"


class DigitsSmall(Model):
    """Three 3x3 convolutions for 8x8 images: 7,514 parameters with any affine norm."""

    title: ClassVar[str] = "model 'digits-small'"
    made_for: ClassVar[str] = "digits"
    kind: Literal["digits-small"]


class Mnist7288(Model):
    """The 7,288-parameter MNIST net: conv, norm, ReLU six times, then a 1x1 classifier."""

    title: ClassVar[str] = "model 'mnist-7288'"
    made_for: ClassVar[str] = "mnist"
    kind: Literal["mnist-7288"]
    conv_bias: ConvBias = "never"


class Mnist7704(Model):
    """The 7,704-parameter MNIST net: conv, ReLU, norm, dropout; 1x1 bottleneck after the pool."""

    title: ClassVar[str] = "model 'mnist-7704'"
    made_for: ClassVar[str] = "mnist"
    kind: Literal["mnist-7704"]
    conv_bias: ConvBias = "never"


MODELS: dict[str, type[Model]] = catalog(DigitsSmall, Mnist7288, Mnist7704)

ModelSpec = Annotated[SerializeAsAny[Model], BeforeValidator(chosen_from(MODELS))]
