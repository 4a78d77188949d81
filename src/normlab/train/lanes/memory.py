"""Which memory an operation's arrays have: gradients take turns in as few arrays as possible.

An operation that reads a map's gradient and writes another one may write it over the first, image
by image: half of what a step moves through the caches are gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from normlab.train.lanes.graph import Add, Conv, Graph, Map, Operation, Read

LARGE = 2000
"""Values of an image and lane from which a map is walked through row by row: two such maps of 16
lanes (128 kB each) and the weights would not leave a core's second cache room for others."""


CHEAP = 9
"""Multiplications behind a value of a map that is rather made again than stored."""


def by_rows(operation: Conv) -> bool:
    """Whether a convolution goes through an image row by row, forward and back."""
    return max(operation.source.map.size, operation.out.size) >= LARGE


@dataclass(frozen=True)
class Slots:
    """Where gradients lie.

    Attributes:
        buffer: Number of the array that holds a map's gradient.
        strides: Vectors from one image to the next in each array.
        per_image: The norms whose coefficients are an image's own, by name.
        remade: Maps that are not stored, with the convolution of the images that makes their rows
            again wherever they are wanted: that takes less time than to move them through memory.
    """

    buffer: dict[int, int]
    strides: tuple[int, ...]
    per_image: frozenset[str]
    remade: dict[int, Conv]

    def stride(self, stored: Map) -> int:
        """Vectors from one image's gradient to the next one's."""
        return self.strides[self.buffer[stored.number]]

    def of_image(self, stored: Map) -> bool:
        """Whether each image has coefficients of its own."""
        return stored.norm in self.per_image


def reads(operation: Operation) -> tuple[Read, ...]:
    """What an operation reads."""
    if isinstance(operation, Add):
        return operation.source, operation.shortcut
    return (operation.source,)


def assign(graph: Graph, is_per_image: Callable[[str], bool]) -> Slots:
    """Give every map's gradient an array."""
    buffer: dict[int, int] = {graph.logits.number: 0}
    strides = [graph.logits.size]
    free: list[int] = []
    for operation in reversed(graph.operations):
        given = buffer[operation.out.number]
        taken = False
        for read in reads(operation):
            number = read.map.number
            if number in buffer or not number:
                continue
            if not taken and _may_overwrite(operation):
                buffer[number], taken = given, True
            else:
                buffer[number] = free.pop() if free else len(strides)
                if buffer[number] == len(strides):
                    strides.append(0)
            strides[buffer[number]] = max(strides[buffer[number]], read.map.size)
        if not taken:
            free.append(given)
    buffer[0] = 0
    names = {stored.norm for stored in graph.maps if stored.norm}
    per_image = frozenset(name for name in names if is_per_image(name))
    return Slots(buffer, tuple(strides), per_image, _remade(graph))


def _remade(graph: Graph) -> dict[int, Conv]:
    found = {}
    for operation in graph.operations:
        if not isinstance(operation, Conv) or operation.source.map.number:
            continue
        out = operation.out
        taps = operation.source.map.channels * operation.kernel[0] * operation.kernel[1]
        readers = [o for o in graph.operations if any(r.map == out for r in reads(o))]
        is_row_wise = all(isinstance(o, Conv) and by_rows(o) and not o.source.raw for o in readers)
        is_far = operation.bias is None and out.norm and out.size >= LARGE
        if taps <= CHEAP and is_far and len(readers) == 1 and is_row_wise:
            found[out.number] = operation
    return found


def _may_overwrite(operation: Operation) -> bool:
    """Whether the gradient of what is read may lie where that of what is written lies."""
    if not isinstance(operation, Conv):
        return False
    if not by_rows(operation):
        return True  # the whole image's gradient is read first
    # From the last row to the first: what is written must not reach a row that is still to be read.
    source, out = operation.source.map, operation.out
    first = _first_rows(operation)
    return all(
        first[row] * source.channels * source.width >= row * out.channels * out.width
        for row in range(out.height)
    )


def _first_rows(operation: Conv) -> list[int]:
    """For each row of the result, the first row of the source that no earlier row reaches."""
    rows, padding = operation.kernel[0], operation.padding[0]
    return [
        max(0, (row - 1) * operation.stride + rows - padding) if row else 0
        for row in range(operation.out.height)
    ]
