"""What augmentations share: the batch they work on, and where their randomness comes from.

Images are (N, C, H, W) as a model takes them: scaled, `standard` or `unit`. Every image gets draws
of its own, all from the generator given and from nothing else. They are drawn in float32 whatever
the images' dtype, so that a trial sees the same augmentations in every precision. Nothing is
changed in place, and nothing waits for the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from normlab.recipe.augment import Augmentation


class Batch(NamedTuple):
    """Images and what they show.

    Attributes:
        images: Shape (N, C, H, W).
        labels: Class of each image, shape (N,); of a mixed image the class with most weight.
        targets: Weight of each class, shape (N, K), summing to 1; None: all weight is the label's.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor | None = None


class PixelRange(NamedTuple):
    """The scaled values of raw black and raw white in each channel, both of shape (C,)."""

    low: Tensor
    high: Tensor


Spec = TypeVar("Spec", bound=Augmentation)


class Transform(ABC, Generic[Spec]):
    """One augmentation with its options.

    Attributes:
        spec: The options, as a recipe gives them.
        last: What was done to the last batch, on average, as tensors without dimensions.
        soft: Whether it needs targets.
        mixes: Whether it combines several images into one.
        copies: How many images it makes from each.
    """

    soft: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.last: dict[str, Tensor] = {}

    @property
    def copies(self) -> int:
        """How many images it makes from each."""
        return 1

    def __call__(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The batch augmented; the batch itself where the options make it do nothing.

        Args:
            batch: With targets if `soft`.
            generator: On the images' device.
            pixels: On the images' device.
        """
        return batch if self.spec.off else self.apply(batch, generator, pixels)

    @abstractmethod
    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The work of `__call__`; fills `last`."""


class ImageTransform(Transform[Spec]):
    """An augmentation that changes each image by itself and leaves labels and targets alone."""

    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """Change the images alone."""
        return batch._replace(images=self.images(batch.images, generator, pixels))

    @abstractmethod
    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The images augmented, same shape and dtype; fills `last`."""


def uniform(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """A number in [low, high) for each image, shape (N,), float32."""
    drawn = torch.empty(len(images), dtype=torch.float32, device=images.device)
    return drawn.uniform_(low, high, generator=generator)


def integers(images: Tensor, low: int, high: int, generator: Generator) -> Tensor:
    """A whole number from low to high, both possible, for each image, shape (N,)."""
    shape = (len(images),)
    return torch.randint(low, high + 1, shape, generator=generator, device=images.device)


def work_dtype(images: Tensor) -> torch.dtype:
    """The dtype to calculate pixels in: never below float32."""
    return torch.promote_types(images.dtype, torch.float32)
