"""Cutout (DeVries & Taylor 2017, arXiv:1708.04552): hide a square of each image.

    out = image * (1 - mask),   mask: a square of `size` pixels a side around a uniform center

The center is any pixel, so the border clips many squares: side 16 on 32x32 pixels hides 19.1 % on
average. What is hidden becomes 0 of the scaled space: the training images' mean with scaling
`standard`, as in the paper, and black with `unit`. With `copies` = m the batch becomes m times as
large, each image standing there m times with squares of their own, and no image unhidden; copy k of
image i is number k N + i. Differs from the authors' code in odd sides: those cover `size` pixels,
where theirs cover one less.
"""

from __future__ import annotations

from torch import Generator, Tensor

from normlab.augment.boxes import mean_share, random_boxes
from normlab.augment.transform import Batch, PixelRange, Transform
from normlab.recipe import augment


def hide(images: Tensor, hidden: Tensor) -> Tensor:
    """Put 0 where hidden (N, H, W) is 1 and not 0; images of shape (N, C, H, W), finite."""
    return images * (1 - hidden)[:, None]


class Cutout(Transform[augment.Cutout]):
    """One square per image; `last`: `hidden`, the mean share of an image that is hidden."""

    @property
    def copies(self) -> int:
        """How many images it makes from each."""
        return self.spec.copies

    def expected(self, height: int, width: int) -> float:
        """The average of `hidden` over all centers, for images of that size."""
        return mean_share(self.spec.size, height) * mean_share(self.spec.size, width)

    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The batch, repeated if so declared, each image with its own square."""
        images, labels, targets = batch
        if self.copies > 1:
            images, labels = images.repeat(self.copies, 1, 1, 1), labels.repeat(self.copies)
            targets = None if targets is None else targets.repeat(self.copies, 1)
        hidden, share = random_boxes(images, self.spec.size, self.spec.size, generator)
        self.last = {"hidden": share.mean()}
        return Batch(hide(images, hidden), labels, targets)
