"""The models a recipe can name, with their options. The networks are in `normlab.models`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from normlab.recipe.base import Component, kinds, shorthand

ConvBias = Literal["auto", "always", "never"]
"""Whether convolutions carry a bias; `auto`: only those that no norm follows."""


class DigitsSmall(Component):
    """Three 3x3 convolutions for 8x8 images: 7,514 parameters with any affine norm."""

    title: ClassVar[str] = "model 'digits-small'"
    kind: Literal["digits-small"]
    conv_bias: ConvBias = "auto"


class Mnist7288(Component):
    """The 7,288-parameter MNIST net: conv, norm, ReLU six times, then a 1x1 classifier."""

    title: ClassVar[str] = "model 'mnist-7288'"
    kind: Literal["mnist-7288"]
    conv_bias: ConvBias = "never"


class Mnist7704(Component):
    """The 7,704-parameter MNIST net: conv, ReLU, norm, dropout; 1x1 bottleneck after the pool."""

    title: ClassVar[str] = "model 'mnist-7704'"
    kind: Literal["mnist-7704"]
    conv_bias: ConvBias = "never"


MODELS = kinds(DigitsSmall, Mnist7288, Mnist7704)

ModelSpec = Annotated[
    Annotated[DigitsSmall | Mnist7288 | Mnist7704, Field(discriminator="kind")],
    BeforeValidator(shorthand("kind", str)),
]
