"""Shift, rotation and affine maps about the image's center.

    out[place] = image[M^-1 place],   M = T(shift) C R(angle) Shear S(scale) C^-1

C moves the center ((W - 1) / 2, (H - 1) / 2) to the origin; Shear = ((1, -tan s), (0, 1)) moves
rows sideways. As in torchvision, with its signs, which differ: a positive angle turns `rotation`
against the clock and `affine` with it; a positive shear leans the image's top to the right.

With `nearest` a shift is drawn in pixels and rounded to whole ones, as torchvision rounds it; with
`bilinear` it keeps its decimals, as Keras' `width_shift_range`, where torchvision rounds as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from normlab.augment.sampling import sampled, shifted
from normlab.augment.transform import ImageTransform, PixelRange, uniform
from normlab.recipe import augment
from normlab.recipe.augment import Fill, Interpolation


class Motion(NamedTuple):
    """What an affine map does to each image; all of shape (N,).

    Attributes:
        degrees: Angle, with the clock.
        shear: Angle by which columns lean, in degrees.
        scale: Size of what is shown, 2 for twice as large.
        right: Pixels to the right.
        down: Pixels downwards.
    """

    degrees: Tensor
    shear: Tensor
    scale: Tensor
    right: Tensor
    down: Tensor


def affine(
    images: Tensor, motion: Motion, *, fill: Fill, interpolation: Interpolation, low: Tensor
) -> Tensor:
    """Shear, scale, turn and move images (N, C, H, W) in one resampling.

    Args:
        images: Shape (N, C, H, W).
        motion: What to do to each.
        fill: What comes in from beyond the border.
        interpolation: The value between pixels.
        low: Black in each channel, shape (C,).
    """
    height, width = images.shape[2:]
    return sampled(images, inverse(motion, height, width), fill, interpolation, low)


def rotate(
    images: Tensor, degrees: Tensor, *, fill: Fill, interpolation: Interpolation, low: Tensor
) -> Tensor:
    """Turn images about their centers, against the clock for positive degrees (N,).

    The other arguments are those of `affine`.
    """
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    matrix = _about_center((cos, -sin, sin, cos), 0, 0, height, width)
    return sampled(images, matrix, fill, interpolation, low)


def inverse(motion: Motion, height: int, width: int) -> Tensor:
    """M^-1 of each image, shape (N, 2, 3): from places of the output to places of the input."""
    degrees, shear, scale, right, down = motion
    angle, lean = torch.deg2rad(degrees), torch.deg2rad(shear).tan()
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # (R Shear)^-1 = Shear^-1 R^-1 = ((1, tan s), (0, 1)) ((cos, sin), (-sin, cos))
    linear = (cos - lean * sin, sin + lean * cos, -sin, cos)
    return _about_center(linear, right, down, height, width)


def _about_center(
    linear: tuple[Tensor, Tensor, Tensor, Tensor],
    right: Tensor | float,
    down: Tensor | float,
    height: int,
    width: int,
) -> Tensor:
    """C linear (place - shift - center) as a matrix of shape (N, 2, 3)."""
    a, b, c, d = linear
    x, y = (width - 1) / 2, (height - 1) / 2
    e = x - a * (x + right) - b * (y + down)
    f = y - c * (x + right) - d * (y + down)
    return torch.stack((a, b, e, c, d, f), dim=1).view(-1, 2, 3)


class Shift(ImageTransform[augment.Shift]):
    """Move by up to a fraction of each side; `last`: mean pixels moved, `x` and `y`."""

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The shifted images."""
        spec, (height, width) = self.spec, images.shape[2:]
        right = uniform(images, -spec.x * width, spec.x * width, generator)
        down = uniform(images, -spec.y * height, spec.y * height, generator)
        if spec.interpolation == "nearest":
            right, down = right.round_(), down.round_()
        self.last = {"x": right.abs().mean(), "y": down.abs().mean()}
        if spec.interpolation == "nearest":
            return shifted(images, right.long(), down.long(), spec.fill, pixels.low)
        nothing = torch.zeros_like(right)
        motion = Motion(nothing, nothing, nothing + 1, right, down)
        return affine(images, motion, fill=spec.fill, interpolation="bilinear", low=pixels.low)


class Rotation(ImageTransform[augment.Rotation]):
    """Rotate by up to `degrees`; `last`: `degrees`, the mean angle without its sign."""

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The rotated images."""
        spec = self.spec
        degrees = uniform(images, -spec.degrees, spec.degrees, generator)
        self.last = {"degrees": degrees.abs().mean()}
        return rotate(
            images, degrees, fill=spec.fill, interpolation=spec.interpolation, low=pixels.low
        )


_AFFINE_FACTS = ("degrees", "shear", "scale", "x", "y")


class Affine(ImageTransform[augment.Affine]):
    """A random affine map.

    `last`: means over the batch of `degrees`, `shear`, `x` and `y` without their signs, and of
    `scale`.
    """

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The mapped images."""
        spec, (height, width) = self.spec, images.shape[2:]
        degrees = uniform(images, -spec.degrees, spec.degrees, generator)
        shear = uniform(images, -spec.shear, spec.shear, generator)
        scale = uniform(images, *spec.scale, generator)
        right = uniform(images, -spec.shift * width, spec.shift * width, generator)
        down = uniform(images, -spec.shift * height, spec.shift * height, generator)
        if spec.interpolation == "nearest":
            right, down = right.round_(), down.round_()
        motion = Motion(degrees, shear, scale, right, down)
        self.last = dict(zip(_AFFINE_FACTS, torch.stack(motion).abs().mean(1), strict=True))
        return affine(
            images, motion, fill=spec.fill, interpolation=spec.interpolation, low=pixels.low
        )
