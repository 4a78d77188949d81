"""Which memory an operation's arrays have: gradients take turns in as few arrays as possible.

An operation that reads a map's gradient and writes another one may write it over the first, image by
image: half of what a step moves through the caches are gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from normlab.train.lanes.graph import Add, Conv, Graph, Map, Operation, Read

LARGE = 2000
"""Values of an image and lane from which a map is walked through row by row: two such maps of 16
lanes (128 kB each) and the weights would not leave a core's second cache room for others."""


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
    """

    buffer: dict[int, int]
    strides: tuple[int, ...]
    per_image: frozenset[str]

    def stride(self, map: Map) -> int:
        """Vectors from one image's gradient to the next one's."""
        return self.strides[self.buffer[map.number]]

    def of_image(self, map: Map) -> bool:
        """Whether each image has coefficients of its own."""
        return map.norm in self.per_image


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
    names = {map.norm for map in graph.maps if map.norm}
    return Slots(buffer, tuple(strides), frozenset(n for n in names if is_per_image(n)))


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
