"""The augmentations a recipe can name, with their options. What they do is in `normlab.augment`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from normlab.recipe.base import Component, catalog, chosen_from
from normlab.recipe.training import Fraction

Fill = Literal["black", "nearest", "reflect"]
"""What lies beyond the border: raw black; the border's own pixels; the image mirrored about its
outermost pixels, which are not repeated."""

Interpolation = Literal["nearest", "bilinear"]
"""Value between pixels: the nearest one's; linear in both directions between the four around."""

Probability = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=180)]
PartOfSide = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=0, le=10_000)]
Jitter = Annotated[float, Field(ge=0, le=10)]
Alpha = Annotated[float, Field(ge=0, le=1000)]
Factor = Annotated[float, Field(gt=0, le=100)]


def _as_pair(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("two factors are needed, the smaller first: [0.8, 1.2]")
    return tuple(value)


class Augmentation(Component):
    """What every augmentation has."""

    @property
    def off(self) -> bool:
        """Whether it does nothing, as at strength 0."""
        raise NotImplementedError


def _at_least_one(spec: Augmentation, *names: str) -> None:
    if not set(names) & spec.model_fields_set:
        raise ValueError(f"{spec.title} needs at least one of {', '.join(names)}")


class Crop(Augmentation):
    """Pad each side by `padding` pixels, then cut the image's size out at a random place."""

    title: ClassVar[str] = "augmentation 'crop'"
    kind: Literal["crop"]
    padding: Pixels = 4
    fill: Fill = "black"

    @property
    def off(self) -> bool:
        """No padding: the only place is the image itself."""
        return self.padding == 0


class Flip(Augmentation):
    """What both flips have."""

    p: Probability = 0.5

    @property
    def off(self) -> bool:
        """Never."""
        return self.p == 0


class HorizontalFlip(Flip):
    """Mirror left and right with probability p."""

    title: ClassVar[str] = "augmentation 'horizontal_flip'"
    kind: Literal["horizontal_flip"]


class VerticalFlip(Flip):
    """Mirror top and bottom with probability p."""

    title: ClassVar[str] = "augmentation 'vertical_flip'"
    kind: Literal["vertical_flip"]


class Shift(Augmentation):
    """Move by up to a fraction of the width (x) and of the height (y), either way."""

    title: ClassVar[str] = "augmentation 'shift'"
    kind: Literal["shift"]
    x: PartOfSide = 0.0
    y: PartOfSide = 0.0
    fill: Fill = "black"
    interpolation: Interpolation = "nearest"

    @model_validator(mode="after")
    def _some_axis(self) -> Shift:
        _at_least_one(self, "x", "y")
        return self

    @property
    def off(self) -> bool:
        """No way to go."""
        return self.x == self.y == 0


class Rotation(Augmentation):
    """Turn about the center by up to `degrees`, either way."""

    title: ClassVar[str] = "augmentation 'rotation'"
    kind: Literal["rotation"]
    degrees: Degrees
    fill: Fill = "black"
    interpolation: Interpolation = "nearest"

    @property
    def off(self) -> bool:
        """No angle but 0."""
        return self.degrees == 0


class Affine(Augmentation):
    """Shear, turn, scale about the center and move, in one resampling."""

    title: ClassVar[str] = "augmentation 'affine'"
    kind: Literal["affine"]
    degrees: Degrees = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    shift: PartOfSide = 0.0
    scale: Annotated[tuple[Factor, Factor], BeforeValidator(_as_pair)] = (1.0, 1.0)
    fill: Fill = "black"
    interpolation: Interpolation = "nearest"

    @model_validator(mode="after")
    def _some_part(self) -> Affine:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}: the smaller factor comes first")
        _at_least_one(self, "degrees", "shear", "shift", "scale")
        return self

    @property
    def off(self) -> bool:
        """Every part is at rest."""
        return self.degrees == self.shear == self.shift == 0 and self.scale == (1.0, 1.0)


class Jittered(Augmentation):
    """What brightness and contrast have."""

    strength: Jitter

    @property
    def off(self) -> bool:
        """No factor but 1."""
        return self.strength == 0


class Brightness(Jittered):
    """Blend with black: multiply raw pixels by a factor from 1 - strength to 1 + strength."""

    title: ClassVar[str] = "augmentation 'brightness'"
    kind: Literal["brightness"]


class Contrast(Jittered):
    """Blend with the image's mean grey by a factor from 1 - strength to 1 + strength."""

    title: ClassVar[str] = "augmentation 'contrast'"
    kind: Literal["contrast"]


class Cutout(Augmentation):
    """Hide one square of `size` pixels a side, clipped at the border (DeVries & Taylor 2017)."""

    title: ClassVar[str] = "augmentation 'cutout'"
    kind: Literal["cutout"]
    size: Pixels
    copies: Annotated[int, Field(ge=1, le=1000)] = 1

    @property
    def off(self) -> bool:
        """Nothing hidden and nothing repeated."""
        return self.size == 0 and self.copies == 1


class Mixing(Augmentation):
    """What mixup and cutmix have."""

    alpha: Alpha = 1.0

    @property
    def off(self) -> bool:
        """No mixing, which is what alpha 0 stands for in both papers' code."""
        return self.alpha == 0


class Mixup(Mixing):
    """Average each image and target with another's, weight from Beta(alpha, alpha) (Zhang 2018)."""

    title: ClassVar[str] = "augmentation 'mixup'"
    kind: Literal["mixup"]


class Cutmix(Mixing):
    """Put a box of another image into each, targets by area (Yun 2019)."""

    title: ClassVar[str] = "augmentation 'cutmix'"
    kind: Literal["cutmix"]


class LabelSmoothing(Augmentation):
    """Spread `strength` of each target evenly over all classes (Szegedy 2016)."""

    title: ClassVar[str] = "augmentation 'label_smoothing'"
    kind: Literal["label_smoothing"]
    strength: Fraction = 0.1

    @property
    def off(self) -> bool:
        """Nothing spread."""
        return self.strength == 0


AUGMENTATIONS: dict[str, type[Augmentation]] = catalog(
    Crop,
    HorizontalFlip,
    VerticalFlip,
    Shift,
    Rotation,
    Affine,
    Brightness,
    Contrast,
    Cutout,
    Mixup,
    Cutmix,
    LabelSmoothing,
)
"""kind -> the options of an augmentation; the transform is in `normlab.augment`."""


class _Item:
    """Where an item of the list stands, for the messages of `chosen_from`."""

    def __init__(self, field_name: str) -> None:
        self.field_name = field_name


_choose = chosen_from(AUGMENTATIONS)


def _each(value: object, info: ValidationInfo) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        message = f"{info.field_name} is {value!r}: needs a list of names or mappings"
        raise PydanticCustomError("refused", "{message}", {"message": message})
    return tuple(
        _choose(item, _Item(f"{info.field_name}.{place}"))  # type: ignore[arg-type]
        for place, item in enumerate(value)
    )


def _without_those_off(specs: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
    # What does nothing is as good as not written: one identity for one training.
    return tuple(spec for spec in specs if not spec.off)


AugmentSpec = Annotated[
    tuple[SerializeAsAny[Augmentation], ...],
    BeforeValidator(_each),
    AfterValidator(_without_those_off),
]
"""Augmentations in the order they are applied; read from a list. The default is `()`."""
