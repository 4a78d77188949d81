"""Pixels from other places of the same image: whole-pixel shifts and affine maps.

    out[n, c, y, x] = image[n, c] at (u, v),   u = a x + b y + e,   v = c x + d y + f

Coordinates are of pixel centers: (0, 0) is the center of the first pixel. The image is thought of
as going on without end beyond its border, filled as `Fill` says; what is sampled is that plane. So
bilinear values fade into the fill over one pixel (torchvision does so on tensors, PIL cuts off).
`nearest` takes the pixel whose square holds (u, v), the square's left and upper edges included.

`nearest` reads each image through one index per pixel that all its channels share. Coordinates are
float32 in every precision, right to 1e-4 of a pixel for images up to 1,000 pixels wide; `nearest`
finds whole pixels exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.augment.transform import work_dtype
from normlab.recipe.augment import Fill, Interpolation


def shifted(images: Tensor, right: Tensor, down: Tensor, fill: Fill, low: Tensor) -> Tensor:
    """Move what the images show by whole pixels.

    Args:
        images: Shape (N, C, H, W).
        right: Pixels to the right, shape (N,), integers.
        down: Pixels downwards, shape (N,), integers.
        fill: What comes in from beyond the border.
        low: Black in each channel, shape (C,).
    """
    height, width = images.shape[2:]
    columns = torch.arange(width, device=images.device) - right[:, None]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns, rows = _inside(columns, width, fill), _inside(rows, height, fill)
    if fill == "black":
        images = _bordered(images, low)
    index = (rows * images.shape[3])[:, :, None] + columns[:, None, :]
    return _taken(images, index)


def sampled(
    images: Tensor, matrix: Tensor, fill: Fill, interpolation: Interpolation, low: Tensor
) -> Tensor:
    """Sample the images along an affine map from places of the output to places of the input.

    Args:
        images: Shape (N, C, H, W).
        matrix: ((a, b, e), (c, d, f)) of each image, shape (N, 2, 3), float32.
        fill: What lies beyond the border.
        interpolation: The value between pixels.
        low: Black in each channel, shape (C,).
    """
    # The whole number below place + 0.5 is the nearest one.
    nearest = interpolation == "nearest"
    half = 0.5 if nearest else 0.0
    u = _places(matrix[:, 0], images.shape[3], images, fill, half)
    v = _places(matrix[:, 1], images.shape[2], images, fill, half)
    if fill == "black":
        images = _bordered(images, low)
    if not nearest:
        return _bilinear(images, u, v)
    # Nothing is negative: cutting off decimals rounds down.
    index = v.to(torch.int32).mul_(images.shape[3]).add_(u.to(torch.int32))
    return _taken(images, index.long())


def _places(row: Tensor, size: int, images: Tensor, fill: Fill, half: float) -> Tensor:
    """Where each output pixel is read along one axis, plus `half`, shape (N, H, W).

    Inside the image already, or for black in the image with a border of one black pixel, which
    stands for all that lies beyond.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, dtype=torch.float32, device=row.device)
    y = x if height == width else torch.arange(height, dtype=torch.float32, device=row.device)
    start = 0.0 if fill == "reflect" else half + (fill == "black")
    across, down = row[:, :1] * x + (row[:, 2:] + start), row[:, 1:2] * y
    place = across[:, None, :] + down[:, :, None]
    if fill == "reflect":
        place = _mirrored(place, size).add_(half)
    return place.clamp_(0, size + 1 if fill == "black" else size - 1)


def _bilinear(images: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Values at (u, v), which are places inside the images; torch counts them from -1 to 1."""
    dtype = work_dtype(images)
    height, width = images.shape[2:]
    across = u.mul_(2 / max(1, width - 1)).sub_(1)
    down = v.mul_(2 / max(1, height - 1)).sub_(1)
    grid = torch.stack((across, down), dim=3).to(dtype)
    values = F.grid_sample(
        images.to(dtype), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return values.to(images.dtype)


def _bordered(images: Tensor, low: Tensor) -> Tensor:
    """Images with a border of one black pixel."""
    count, channels, height, width = images.shape
    last = _lies_channels_last(images)
    made = torch.empty(
        (count, channels, height + 2, width + 2),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
    made.copy_(low[:, None, None])
    made[:, :, 1:-1, 1:-1] = images
    return made


def _inside(index: Tensor, size: int, fill: Fill) -> Tensor:
    """Whole places folded into the image; for black into the image with a border of one pixel."""
    if fill == "black":
        return index.clamp(-1, size) + 1
    if fill == "nearest" or size == 1:
        return index.clamp(0, size - 1)
    place = index.remainder(2 * (size - 1))
    return torch.minimum(place, 2 * (size - 1) - place)


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places folded into [0, size - 1] by mirrors at both ends; one pixel has no mirrors."""
    if size == 1:
        return place
    # The plane repeats every 2 (size - 1) and is even about each multiple of it.
    return place.sub_((place / (2 * (size - 1))).round_(), alpha=2 * (size - 1)).abs_()


def _taken(images: Tensor, index: Tensor) -> Tensor:
    """The pixels at index (N, H, W), counted row by row, of every channel."""
    count, channels = images.shape[:2]
    if _lies_channels_last(images):
        flat = index.view(count, -1, 1).expand(-1, -1, channels)
        taken = images.permute(0, 2, 3, 1).reshape(count, -1, channels).gather(1, flat)
        return taken.view(*index.shape, channels).permute(0, 3, 1, 2)
    flat = index.view(count, 1, -1).expand(-1, channels, -1)
    taken = images.reshape(count, channels, -1).gather(2, flat)
    return taken.view(count, channels, *index.shape[1:])


def _lies_channels_last(images: Tensor) -> bool:
    last = images.is_contiguous(memory_format=torch.channels_last)
    return last and not images.is_contiguous()
