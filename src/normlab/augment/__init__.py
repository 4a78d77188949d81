"""Augmentation: batched on the device of the images, each image by draws of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from normlab.augment.color import Brightness, Contrast
from normlab.augment.crop import Crop
from normlab.augment.cutout import Cutout
from normlab.augment.flip import HorizontalFlip, VerticalFlip
from normlab.augment.geometry import Affine, Rotation, Shift
from normlab.augment.label_smoothing import LabelSmoothing
from normlab.augment.mixing import Cutmix, Mixup
from normlab.augment.transform import Batch, ImageTransform, PixelRange, Transform
from normlab.recipe.augment import Augmentation

AUGMENTATIONS: dict[str, type[Transform[Any]]] = {
    "crop": Crop,
    "horizontal_flip": HorizontalFlip,
    "vertical_flip": VerticalFlip,
    "shift": Shift,
    "rotation": Rotation,
    "affine": Affine,
    "brightness": Brightness,
    "contrast": Contrast,
    "cutout": Cutout,
    "mixup": Mixup,
    "cutmix": Cutmix,
    "label_smoothing": LabelSmoothing,
}
"""kind -> class; the options of each kind are in `normlab.recipe.augment`."""


class Pipeline:
    """A recipe's augmentations, one after the other in the order written.

    Attributes:
        transforms: Those that have an effect, each with `last`: what was done to the last batch.
        copies: Number of images that come out for each one that goes in.
        mixes: Whether images are mixed: then an accuracy on the result is meaningless.
        soft: Whether the result has `targets`.
    """

    def __init__(
        self, specs: Sequence[Augmentation], *, num_classes: int, low: Tensor, high: Tensor
    ) -> None:
        """Make the transforms.

        Args:
            specs: The recipe's, see `normlab.recipe.augment`.
            num_classes: Number of classes K.
            low: The scaled value of raw black in each channel, shape (C,), on the images' device.
            high: The scaled value of raw white, likewise.
        """
        self.transforms = tuple(AUGMENTATIONS[s.kind](s) for s in specs if not s.off)
        self.num_classes, self.pixels = num_classes, PixelRange(low, high)
        self.mixes = any(transform.mixes for transform in self.transforms)
        self.soft = any(transform.soft for transform in self.transforms)
        self.copies = 1
        for transform in self.transforms:
            self.copies *= transform.copies

    def __call__(self, images: Tensor, labels: Tensor, generator: Generator) -> Batch:
        """Augment a batch.

        Args:
            images: Shape (N, C, H, W), scaled, floating point.
            labels: Shape (N,), int64.
            generator: The only source of randomness, on the images' device.

        Returns:
            M = N * `copies` images and labels, new tensors unless nothing is to be done; targets
            (M, K) if `soft`, float64 for float64 images and else float32.
        """
        targets = None
        if self.soft:
            dtype = torch.promote_types(images.dtype, torch.float32)
            targets = F.one_hot(labels, self.num_classes).to(dtype)
        batch = Batch(images, labels, targets)
        for transform in self.transforms:
            batch = transform(batch, generator, self.pixels)
        if self.mixes and batch.targets is not None:
            batch = batch._replace(labels=batch.targets.argmax(1))
        return batch


__all__ = [
    "AUGMENTATIONS",
    "Affine",
    "Batch",
    "Brightness",
    "Contrast",
    "Crop",
    "Cutmix",
    "Cutout",
    "HorizontalFlip",
    "ImageTransform",
    "LabelSmoothing",
    "Mixup",
    "Pipeline",
    "PixelRange",
    "Rotation",
    "Shift",
    "Transform",
    "VerticalFlip",
]
