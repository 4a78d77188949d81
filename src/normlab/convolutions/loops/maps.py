"""Maps between memory and a thread's own float32 room: frames of zeros, bfloat16 in and out.

A map of bfloat16 is two bytes a number: the upper half of a float32. It is read into float32, and
written back rounded to the nearest, halves to even, as torch rounds.
"""

# mypy: ignore-errors

from __future__ import annotations

from normlab.convolutions.shape import Shape
from normlab.native.emitter import Emitter

_WIDTHS = (16, 8, 4, 2, 1)


def address(e: Emitter, index: int, half: bool):
    """The address of a map that is an argument."""
    return e.halves(index) if half else e.address(index)


def _copy(e: Emitter, count: int, source, target, move) -> None:
    """`move(source, target, lanes)` over so many numbers."""
    done = 0
    for lanes in _WIDTHS:
        pieces = (count - done) // lanes
        if pieces:
            base = done

            def piece(i, lanes=lanes, base=base):
                offset = e.plus(e.times(i, lanes), base)
                move(e.at(source, offset), e.at(target, offset), lanes)

            e.loop(pieces, piece)
            done += pieces * lanes


def read(e: Emitter, count: int, source, target, half: bool) -> None:
    """So many numbers of a map into float32."""

    def move(a, b, lanes):
        e.store(e.load_halves(a, lanes) if half else e.load(a, lanes), b)

    _copy(e, count, source, target, move)


def write(e: Emitter, count: int, source, target) -> None:
    """So many float32 numbers into a map of bfloat16."""

    def move(a, b, lanes):
        e.store_halves(e.load(a, lanes), b)

    _copy(e, count, source, target, move)


def to_frame(e: Emitter, shape: Shape, image, frame, columns: int, half: bool) -> None:
    """An image into its frame of zeros, which has so many columns of pixels."""
    length = shape.width * shape.inputs
    row_of_frame = columns * shape.inputs
    begin = shape.padding[0] * row_of_frame + shape.padding[1] * shape.inputs

    def row(r):
        target = e.at(frame, e.plus(e.times(r, row_of_frame), begin))
        read(e, length, e.at(image, e.times(r, length)), target, half)

    e.loop(shape.height, row)
