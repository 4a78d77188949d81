"""Random crop: pad each side, then cut the image's size out at a random place.

    out[y, x] = padded[y + i, x + j],   i, j ~ uniform over 0 .. 2 padding

The same as moving the image by up to `padding` whole pixels in each direction. torchvision's
`RandomCrop(size, padding)`, with one draw per image instead of one per call.
"""

from __future__ import annotations

from torch import Generator, Tensor

from normlab.augment.sampling import shifted
from normlab.augment.transform import ImageTransform, PixelRange, integers
from normlab.recipe import augment


class Crop(ImageTransform[augment.Crop]):
    """Move by up to `padding` pixels; `last`: mean pixels moved, `x` and `y`."""

    def images(self, images: Tensor, generator: Generator, pixels: PixelRange) -> Tensor:
        """The crops."""
        padding = self.spec.padding
        right = integers(images, -padding, padding, generator)
        down = integers(images, -padding, padding, generator)
        self.last = {"x": right.abs().float().mean(), "y": down.abs().float().mean()}
        return shifted(images, right, down, self.spec.fill, pixels.low)
