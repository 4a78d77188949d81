"""The shape of a convolution without its batch."""

from __future__ import annotations

from typing import NamedTuple

Pair = tuple[int, int]


class Shape(NamedTuple):
    """Channels, map, kernel, stride and padding; one group, no dilation.

    Attributes:
        inputs: Channels of the map, C.
        outputs: Channels of the result, K.
        height: Rows of the map.
        width: Columns.
        kernel: Rows and columns of taps.
        stride: Of rows and columns.
        padding: Zeros on each side of rows and columns.
    """

    inputs: int
    outputs: int
    height: int
    width: int
    kernel: Pair
    stride: Pair
    padding: Pair

    @property
    def framed(self) -> Pair:
        """Rows and columns of the map with its padding."""
        return self.height + 2 * self.padding[0], self.width + 2 * self.padding[1]

    @property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return any(self.padding)

    @property
    def frame(self) -> int:
        """Numbers of one map with its padding."""
        return self.framed[0] * self.framed[1] * self.inputs

    @property
    def pixels(self) -> int:
        """Of the map."""
        return self.height * self.width

    @property
    def out_size(self) -> Pair:
        """Rows and columns of the result."""
        rows, columns = (
            (size - taps) // step + 1
            for size, taps, step in zip(self.framed, self.kernel, self.stride, strict=True)
        )
        return rows, columns

    @property
    def out_pixels(self) -> int:
        """Of the result."""
        return self.out_size[0] * self.out_size[1]

    @property
    def taps(self) -> int:
        """Of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def weights(self) -> int:
        """Of the kernel."""
        return self.inputs * self.outputs * self.taps

    def turned(self) -> Shape:
        """The convolution that makes the gradient of the map, at stride 1."""
        kernel, padding = self.kernel, self.padding
        return Shape(
            self.outputs,
            self.inputs,
            *self.out_size,
            kernel,
            (1, 1),
            (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1]),
        )
