"""The data sets a recipe can name, with their options. The readers are in `normlab.data`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, SerializeAsAny

from normlab.recipe.base import Component, catalog, chosen_from

Scaling = Literal["standard", "unit"]
"""How pixels become inputs: `unit` divides by the largest pixel value; `standard` then takes off
the training images' mean and divides by their standard deviation, per color channel."""


class Data(Component):
    """What every data set has."""

    scaling: Scaling = "standard"


class Digits(Data):
    """1,797 handwritten digits of 8x8 pixels, 10 classes; inside the package (UCI)."""

    title: ClassVar[str] = "data 'digits'"
    kind: Literal["digits"]


class Mnist(Data):
    """70,000 handwritten digits of 28x28 pixels, 10 classes; 11 MB download (LeCun et al. 1998)."""

    title: ClassVar[str] = "data 'mnist'"
    kind: Literal["mnist"]


DATA = catalog(Digits, Mnist)

DataSpec = Annotated[SerializeAsAny[Data], BeforeValidator(chosen_from(DATA))]
