"""The data sets a recipe can name, with their options. The readers are in `normlab.data`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from normlab.recipe.base import Component, kinds, shorthand

Scaling = Literal["standard", "unit"]
"""How pixels become inputs: `unit` divides by the largest pixel value; `standard` then takes off
the training images' mean and divides by their standard deviation, per color channel."""


class Digits(Component):
    """1,797 handwritten digits of 8x8 pixels, 10 classes; inside the package (UCI)."""

    title: ClassVar[str] = "data 'digits'"
    kind: Literal["digits"]
    scaling: Scaling = "standard"


class Mnist(Component):
    """70,000 handwritten digits of 28x28 pixels, 10 classes; 11 MB download (LeCun et al. 1998)."""

    title: ClassVar[str] = "data 'mnist'"
    kind: Literal["mnist"]
    scaling: Scaling = "standard"


DATA = kinds(Digits, Mnist)

DataSpec = Annotated[
    Annotated[Digits | Mnist, Field(discriminator="kind")],
    BeforeValidator(shorthand("kind", str)),
]
