"""The data sets a recipe can name, with their options. The readers are in `normlab.data`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, JsonValue, SerializeAsAny

from normlab.recipe.base import Component, Own, catalog, chosen_from
from normlab.text import one_form

Scaling = Literal["standard", "unit"]
"""How pixels become inputs: `unit` divides by the largest pixel value; `standard` then takes off
the training images' mean and divides by their standard deviation, per color channel."""

LARGEST_SIDE = 4096


def _classes(value: object) -> object:
    """A number of classes, or names in one order: the order of the list changes nothing."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 2):
        return value
    names = value if isinstance(value, list | tuple) else ()
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError("a number of classes from 2 on, or a list of at least two class names")
    # An accent can be written as one letter or as two signs: to a person both are one name.
    names = [one_form(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names '{twice[0]}' twice")
    return tuple(sorted(names))


def _size(value: object) -> object:
    """One side of a square, or height and width; two equal ones are a square."""
    sides = value if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(
        type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides
    ):
        raise ValueError(
            f"pixels: a whole number from 1 to {LARGEST_SIDE}, or [height, width] of such"
        )
    return sides[0] if sides[0] == sides[1] else tuple(sides)


class Data(Component):
    """What every data set has."""

    places: ClassVar[frozenset[str]] = frozenset()
    """Options that say where the images lie and not what they are: no part of a trial's id."""

    scaling: Scaling = "standard"
    classes: Annotated[int | tuple[str, ...] | None, BeforeValidator(_classes)] = None
    """The first so many classes in the set's order, or those named; none for all."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """Training images per class, drawn once and for every seed the same; none for all."""
    test_limit: Annotated[int | None, Field(ge=1)] = None
    """Test images per class, likewise."""


class Photos(Data):
    """What sets of image files of any size share: how a file becomes an array."""

    size: Annotated[int | tuple[int, int], BeforeValidator(_size)] = 32
    """Pixels of a square's side, or height and width."""
    resize: Literal["crop", "stretch", "pad"] = "crop"
    """`crop`: cover the size and cut the middle out; `stretch`; `pad`: fit in, black around."""
    mode: Literal["RGB", "L"] = "RGB"
    """Color, or grey."""


class Digits(Data):
    """1,797 handwritten digits of 8x8 pixels, 10 classes; inside the package (UCI)."""

    title: ClassVar[str] = "data 'digits'"
    kind: Literal["digits"]


class Mnist(Data):
    """70,000 handwritten digits of 28x28 pixels, 10 classes; 11 MB download (LeCun et al. 1998)."""

    title: ClassVar[str] = "data 'mnist'"
    kind: Literal["mnist"]


class FashionMnist(Data):
    """70,000 grey 28x28 pictures of clothes, 10 classes; 31 MB download (Xiao et al. 2017)."""

    title: ClassVar[str] = "data 'fashion-mnist'"
    kind: Literal["fashion-mnist"]


class Kmnist(Data):
    """70,000 cursive Japanese characters, 28x28, 10 classes; 21 MB download (Clanuwat 2018)."""

    title: ClassVar[str] = "data 'kmnist'"
    kind: Literal["kmnist"]


class Cifar10(Data):
    """60,000 color photos of 32x32 pixels, 10 classes; 170 MB download (Krizhevsky 2009)."""

    title: ClassVar[str] = "data 'cifar10'"
    kind: Literal["cifar10"]


class Cifar100(Data):
    """60,000 color photos of 32x32 pixels, 100 classes; 169 MB download (Krizhevsky 2009)."""

    title: ClassVar[str] = "data 'cifar100'"
    kind: Literal["cifar100"]


class Cifar10Jpeg(Data):
    """CIFAR-10 re-encoded as JPEG by a third party, so not CIFAR-10; read from NORMLAB_DATA."""

    title: ClassVar[str] = "data 'cifar10-jpeg'"
    kind: Literal["cifar10-jpeg"]


class Caltech25(Photos):
    """2,875 photos of 25 classes of Caltech-101, many sizes; read from NORMLAB_DATA."""

    title: ClassVar[str] = "data 'caltech25'"
    kind: Literal["caltech25"]


class ImageFolder(Photos):
    """Images of your own, a folder for each class; see docs/own-images.md."""

    title: ClassVar[str] = "data 'image-folder'"
    places: ClassVar[frozenset[str]] = frozenset({"path"})
    kind: Literal["image-folder"]
    path: Annotated[str, Field(min_length=1)]
    """The folder: `train` and `test` in it with class folders, or class folders."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What happens to files that are not readable images: an error, or left out and reported."""
    test: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Fraction held out for test where there is no test folder; none for 0.2."""


DATA = catalog(
    Digits,
    Mnist,
    FashionMnist,
    Kmnist,
    Cifar10,
    Cifar100,
    Cifar10Jpeg,
    Caltech25,
    ImageFolder,
)
"""kind -> the options of a data set; what reads it is in `normlab.data`."""


class OwnData(Data, Own):
    """What a function of the user's returns, by import path: ``mypackage.images:load``.

    Options are plain values: they are part of a trial's id.
    """

    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)
    title: ClassVar[str] = "own data"
    group: ClassVar[str] = "normlab.data"
    written: ClassVar[str] = "package.module:function"


DataSpec = Annotated[SerializeAsAny[Data], BeforeValidator(chosen_from(DATA, OwnData))]
