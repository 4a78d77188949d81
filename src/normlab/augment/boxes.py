"""Boxes clipped at the border, for cutout and cutmix."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from normlab.augment.transform import integers


def spans(centers: Tensor, lengths: Tensor | int, size: int) -> Tensor:
    """Which of `size` places in a row lie in a span around a center, shape (N, size), bool.

    A span of length s goes from center - s // 2 on, so that odd and even spans have s places
    where the border does not clip them.
    """
    first = centers - (lengths // 2)
    place = torch.arange(size, device=centers.device)
    return (place >= first[:, None]) & (place < (first + lengths)[:, None])


def random_boxes(
    images: Tensor, heights: Tensor | int, widths: Tensor | int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A box for each image, its center uniform over all pixels.

    Returns:
        1 in the box and 0 elsewhere, shape (N, H, W), in the images' dtype; and the share of pixels
        in the box, shape (N,).
    """
    height, width = images.shape[2:]
    rows = spans(integers(images, 0, height - 1, generator), heights, height)
    columns = spans(integers(images, 0, width - 1, generator), widths, width)
    share = rows.sum(1) * columns.sum(1) / (height * width)
    # Numbers instead of truth values: multiplying by them is ten times as fast as choosing.
    rows, columns = rows.to(images.dtype), columns.to(images.dtype)
    return rows[:, :, None] * columns[:, None, :], share


def mean_share(length: int, size: int) -> float:
    """Mean share of `size` places that a clipped span covers, its center uniform over them."""
    first = -(length // 2)
    covered = sum(
        max(0, min(center + first + length, size) - max(center + first, 0))
        for center in range(size)
    )
    return covered / size**2
