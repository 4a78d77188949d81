"""Flips: each image mirrored, or not, by a draw of its own."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import torch
from torch import Generator, Tensor

from normlab.augment.transform import ImageTransform, PixelRange, uniform
from normlab.recipe import augment

AnyFlip = TypeVar("AnyFlip", bound=augment.Flip)


def flip(images: Tensor, chosen: Tensor, dim: int) -> Tensor:
    """Mirror the chosen images along a dimension: 3 swaps left and right, 2 top and bottom.

    Args:
        images: Shape (N, C, H, W).
        chosen: Which images, shape (N,), bool.
        dim: 2 or 3.
    """
    return torch.where(chosen[:, None, None, None], images.flip(dim), images)


class _Flip(ImageTransform[AnyFlip]):
    """With probability p; `last`: `flipped`, the share of images."""

    dim: ClassVar[int]

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The images, some of them mirrored."""
        chosen = uniform(images, 0, 1, generator) < self.spec.p
        self.last = {"flipped": chosen.float().mean()}
        return flip(images, chosen, self.dim)


class HorizontalFlip(_Flip[augment.HorizontalFlip]):
    """Mirror left and right with probability p; `last`: `flipped`, the share of images."""

    dim = 3


class VerticalFlip(_Flip[augment.VerticalFlip]):
    """Mirror top and bottom with probability p; `last`: `flipped`, the share of images."""

    dim = 2
