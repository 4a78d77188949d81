"""Which pixels and taps of a convolution meet.

Padding meets no tap: the middle tap is all of a 3x3 kernel on a map of one pixel. The gradient of a
map at stride 2 reads what is there and multiplies no zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from normlab.convolutions.shape import Shape

Meetings = Sequence[Sequence[tuple[int, int]]]
"""For each pixel that is written: pixels that are read, each with its tap."""


def meetings(shape: Shape) -> Meetings:
    """Of the forward pass: for each output pixel, input pixels and taps."""
    (kh, kw), (sh, sw), (ph, pw) = shape.kernel, shape.stride, shape.padding
    rows, columns = shape.out_size
    return [
        [
            (y * shape.width + x, ky * kw + kx)
            for ky in range(kh)
            for kx in range(kw)
            if 0 <= (y := i * sh + ky - ph) < shape.height
            and 0 <= (x := j * sw + kx - pw) < shape.width
        ]
        for i in range(rows)
        for j in range(columns)
    ]


def turned(met: Meetings, pixels: int) -> Meetings:
    """The same for the gradient of the map: for each of its pixels, output pixels and taps."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(pixels)]
    for out, pairs in enumerate(met):
        for inside, tap in pairs:
            found[inside].append((out, tap))
    return found
