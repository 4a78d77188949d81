"""How many outputs a loop holds in registers, and how wide its vectors are."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

LEAST = 8
"""Channels in a vector at least: a width that is no multiple of it is not for these loops."""


class Tile(NamedTuple):
    """What a loop computes at once.

    Attributes:
        lanes: float32 numbers in a vector.
        parts: Places whose channels share a vector: 2 where a pixel has half a vector's.
        vectors: Vectors of channels.
        rows: Rows of pixels.
        pixels: Pixels of a row, or images.
    """

    lanes: int
    parts: int
    vectors: int
    rows: int
    pixels: int

    @property
    def channels(self) -> int:
        """Of one block."""
        return self.lanes // self.parts * self.vectors


def lanes_for(channels: int, widest: int) -> int:
    """The widest vector that fills with so many channels."""
    return widest if channels % widest == 0 else LEAST


def of_rows(channels: int, size: tuple[int, int], kernel: int, lanes: int, registers: int) -> Tile:
    """A tile of pixels, for maps of `size` (rows, columns) and a kernel so wide.

    A channel of a pixel is read once for all taps of a row: long rows are best. Some registers are
    the weights'; below ten sums a multiplication waits for the one before it.
    """
    parts = lanes // channels if channels < lanes and size[0] > 1 else 1
    if parts == 1:
        lanes = lanes_for(channels, lanes)
    vectors = 2 if registers >= 32 and channels % (2 * lanes) == 0 else 1
    most = min(registers - kernel * vectors - 2, 16 if vectors == 2 else 24)
    best: tuple[float, Tile] | None = None
    for rows in range(1, max(size[0] // parts, 1) + 1):
        for pixels in range(1, size[1] + 1):
            sums = rows * pixels * vectors
            if sums > most and best is not None:
                break
            blocks = ceil(size[0] / (rows * parts)) * ceil(size[1] / pixels)
            cost = blocks * (max(sums, 10) + 3 + 0.01 * rows)
            if best is None or cost < best[0]:
                best = cost, Tile(lanes, parts, vectors, rows, pixels)
    assert best is not None
    return best[1]


def of_images(channels: int, images: int, lanes: int, registers: int) -> Tile:
    """A tile of images, or of anything else: equal parts of as many as there are."""
    lanes = lanes_for(channels, lanes)
    vectors = 2 if registers >= 32 and channels % (2 * lanes) == 0 else 1
    most = 8 if vectors == 2 or registers < 32 else 16
    return Tile(lanes, 1, vectors, 1, ceil(images / ceil(images / most)))
