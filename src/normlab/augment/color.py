"""Brightness and contrast, in terms of raw pixels, as torchvision and PIL define them.

    raw' = clamp(factor * raw + (1 - factor) * end, 0, 1)

end = 0 for brightness, the mean grey of the image for contrast; factor ~ uniform from
max(0, 1 - strength) to 1 + strength, one for each image. A scaled pixel is x = low + (high - low)
raw in its channel, so the same blend holds for x with end and bounds scaled likewise. Grey is
0.299 R + 0.587 G + 0.114 B for three channels (ITU-R 601-2), else the mean over channels. PIL
rounds pixels and the mean grey to whole steps of 1/255; here nothing is rounded.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from normlab.augment.transform import ImageTransform, PixelRange, uniform, work_dtype
from normlab.recipe import augment


def brighten(images: Tensor, factors: Tensor, pixels: PixelRange) -> Tensor:
    """Multiply raw pixels by a factor per image; 0 is black, 1 the image itself.

    Args:
        images: Shape (N, C, H, W).
        factors: Shape (N,), 0 or more.
        pixels: Black and white in each channel.
    """
    return _blend(images, pixels.low[None, :, None, None], factors, pixels)


def change_contrast(images: Tensor, factors: Tensor, pixels: PixelRange) -> Tensor:
    """Blend raw pixels with the image's mean grey; 0 is grey all over, 1 the image itself.

    Args:
        images: Shape (N, C, H, W).
        factors: Shape (N,), 0 or more.
        pixels: Black and white in each channel.
    """
    low, width = pixels.low, pixels.high - pixels.low
    raw = (images.mean((2, 3), dtype=work_dtype(images)) - low) / width
    if images.shape[1] == 3:
        grey = 0.299 * raw[:, :1] + 0.587 * raw[:, 1:2] + 0.114 * raw[:, 2:]
    else:
        grey = raw.mean(1, keepdim=True)
    return _blend(images, (low + width * grey)[:, :, None, None], factors, pixels)


def _blend(images: Tensor, end: Tensor, factors: Tensor, pixels: PixelRange) -> Tensor:
    dtype = work_dtype(images)
    factor = factors.to(dtype)[:, None, None, None]
    low, high = (bound.to(dtype)[:, None, None] for bound in pixels)
    blended = (images * factor).add_((1 - factor) * end.to(dtype))
    torch.maximum(blended, low, out=blended)
    return torch.minimum(blended, high, out=blended).to(images.dtype)


class Brightness(ImageTransform[augment.Brightness]):
    """Brighter or darker; `last`: `change`, the mean distance of the factors from 1."""

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The images with changed brightness."""
        factors = uniform(images, *_factors(self.spec.strength), generator)
        self.last = {"change": (factors - 1).abs().mean()}
        return brighten(images, factors, pixels)


class Contrast(ImageTransform[augment.Contrast]):
    """More or less contrast; `last`: `change`, the mean distance of the factors from 1."""

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The images with changed contrast."""
        factors = uniform(images, *_factors(self.spec.strength), generator)
        self.last = {"change": (factors - 1).abs().mean()}
        return change_contrast(images, factors, pixels)


def _factors(strength: float) -> tuple[float, float]:
    return max(0.0, 1 - strength), 1 + strength
