"""3x3 convolutions at stride 1 by Winograd's F(2x2, 3x3): 16 products for four outputs, not 36.

    y = A' [(G g G') * (B' d B)] A,   d a tile of 4x4 pixels, g the kernel, y 2x2 outputs

Lavin & Gray 2016 (arXiv:1509.09308). A strip of tiles goes through all three steps
while it is in the cache: tiles to 16 numbers each (`_spread`), a product of matrices for each of
them, back to outputs. The gradient of the weights is the same turned around: F(3x3, 2x2), with the
numbers of the gradients' tiles in place of the kernel's.

Channels read and written are multiples of the vector. Sums of 16 numbers replace sums of 9 taps:
the error is that of a sum about four times as long.
"""

# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from normlab.convolutions.loops import maps
from normlab.convolutions.loops.tiles import Tile
from normlab.convolutions.loops.weights import keep_sums, start_sums
from normlab.convolutions.shape import Shape
from normlab.native.emitter import Emitter

ARGUMENTS = (
    "thread_number", "threads", "images", "x", "weight", "y", "bias", "frames", "room", "outs",
)  # fmt: skip
WEIGHTS_ARGUMENTS = (
    "thread_number", "threads", "images", "x", "dy", "sums", "frames", "room", "outs",
)  # fmt: skip

SIDE = 4
PLACES = SIDE * SIDE
"""Numbers of a tile."""


class Strips(NamedTuple):
    """Tiles of a map, in strips of whole rows of them.

    Attributes:
        rows: Rows of tiles.
        columns: Columns.
        strip: Rows of a strip.
    """

    rows: int
    columns: int
    strip: int

    @property
    def tiles(self) -> int:
        """Of a strip."""
        return self.strip * self.columns


def strips(shape: Shape, least: int) -> Strips:
    """Strips of at least so many tiles, if the map has them; the last one may overlap."""
    rows, columns = (ceil(size / 2) for size in shape.out_size)
    strip = min(rows, ceil(least / columns))
    return Strips(rows, columns, ceil(rows / ceil(rows / strip)))


def frame_size(shape: Shape) -> tuple[int, int]:
    """Rows and columns of pixels that all tiles cover."""
    rows, columns = (ceil(size / 2) for size in shape.out_size)
    return 2 * rows + 2, 2 * columns + 2


def pack(name: str, channels: tuple[int, int], lanes: int) -> str:
    """The kernel's 16 numbers, (place, read, written).

    The weights are laid as for `rows` in one block: (ky, read, kx, written).
    """
    e = Emitter(name)
    source, target = e.address(0), e.address(1)
    C, K = channels

    def read(c):
        def vector(v):
            base = e.plus(e.times(c, 3 * K), e.times(v, lanes))
            g = [
                [
                    e.load(e.at(source, e.plus(base, ky * C * 3 * K + kx * K)), lanes)
                    for kx in range(3)
                ]
                for ky in range(3)
            ]
            rows = _kernel_rows(e, g, lanes)
            made = _kernel_rows(e, [list(column) for column in zip(*rows, strict=True)], lanes)
            out = e.plus(e.times(c, K), e.times(v, lanes))
            for j in range(SIDE):
                for i in range(SIDE):
                    place = (i * SIDE + j) * C * K
                    e.store(made[j][i], e.at(target, e.plus(out, place)))

        e.loop(K // lanes, vector)

    e.loop(C, read)
    return e.finish()


def _kernel_rows(e: Emitter, g: list, lanes: int) -> list:
    """G g: four rows from three; each row a list of vectors."""
    half = e.constant(0.5, lanes)
    made = [[], [], [], []]
    for a, b, c in zip(*g, strict=True):
        outer = e.builder.fmul(e.builder.fadd(a, c), half)
        inner = e.builder.fmul(b, half)
        made[0].append(a)
        made[1].append(e.builder.fadd(outer, inner))
        made[2].append(e.builder.fsub(outer, inner))
        made[3].append(c)
    return made


def _tile_rows(e: Emitter, d: list) -> list:
    """B' d: four rows from four."""
    made = [[], [], [], []]
    for a, b, c, f in zip(*d, strict=True):
        made[0].append(e.builder.fsub(a, c))
        made[1].append(e.builder.fadd(b, c))
        made[2].append(e.builder.fsub(c, b))
        made[3].append(e.builder.fsub(b, f))
    return made


def _out_rows(e: Emitter, m: list) -> list:
    """A' m: two rows from four."""
    made = [[], []]
    for a, b, c, f in zip(*m, strict=True):
        made[0].append(e.builder.fadd(e.builder.fadd(a, b), c))
        made[1].append(e.builder.fsub(e.builder.fsub(b, c), f))
    return made


def _gradient_rows(e: Emitter, y: list) -> list:
    """A y: four rows from two."""
    made = [[], [], [], []]
    for a, b in zip(*y, strict=True):
        made[0].append(a)
        made[1].append(e.builder.fadd(a, b))
        made[2].append(e.builder.fsub(a, b))
        made[3].append(e.negative(b))
    return made


def _turned(rows: list) -> list:
    return [list(column) for column in zip(*rows, strict=True)]


def _spread(e: Emitter, frame, columns: int, channels: int, plan: Strips, top, to, lanes: int):
    """The 16 numbers of each tile of a strip: (place, tile, channel)."""

    def row(r):
        def column(q):
            corner = e.at(
                frame,
                e.plus(e.times(e.plus(top, r), 2 * columns * channels), e.times(q, 2 * channels)),
            )
            tile = e.times(e.plus(e.times(r, plan.columns), q), channels)

            def vector(v):
                offset = e.times(v, lanes)
                d = [
                    [
                        e.load(e.at(corner, e.plus(offset, (i * columns + j) * channels)), lanes)
                        for j in range(SIDE)
                    ]
                    for i in range(SIDE)
                ]
                made = _tile_rows(e, _turned(_tile_rows(e, d)))
                _store_places(e, made, e.at(to, e.plus(tile, offset)), plan.tiles * channels)

            e.loop(channels // lanes, vector)

        e.loop(plan.columns, column)

    e.loop(plan.strip, row)


def _store_places(e: Emitter, made: list, at, step: int) -> None:
    """Store (column, row) vectors at their places."""
    for j, column in enumerate(made):
        for i, vector in enumerate(column):
            e.store(vector, e.at(at, (i * SIDE + j) * step))


def forward(name: str, shape: Shape, plan: Strips, tile: Tile, *, half: bool) -> str:
    """The text of the loop; weights as `pack` lays them."""
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, y = (maps.address(e, i, half) for i in (3, 5))
    w, bias, frames, rooms, outs = (e.address(i) for i in (4, 6, 7, 8, 9))
    C, K = shape.inputs, shape.outputs
    rows, columns = frame_size(shape)
    frame = e.at(frames, e.times(thread, rows * columns * C))
    own = e.at(rooms, e.times(thread, PLACES * plan.tiles * (C + K)))
    numbers, products = own, e.at(own, PLACES * plan.tiles * C)
    count = shape.out_pixels * K
    made = e.at(outs, e.times(thread, count))
    first, last = e.share(images, threads, thread)
    lanes = tile.lanes
    sums = [[e.variable(lanes) for _ in range(tile.vectors)] for _ in range(tile.pixels)]

    def image(n):
        maps.to_frame(e, shape, e.at(x, e.times(n, shape.pixels * C)), frame, columns, half)
        out = e.at(y, e.times(n, count))

        def strip(s):
            top = e.least(e.times(s, plan.strip), plan.rows - plan.strip)
            _spread(e, frame, columns, C, plan, top, numbers, lanes)
            _products(e, (C, K), plan.tiles, tile, sums, numbers, w, products)
            _gather(e, shape, plan, top, products, made if half else out, bias, lanes)

        e.loop(ceil(plan.rows / plan.strip), strip)
        if half:
            maps.write(e, count, made, out)

    e.loop(last, image, first)
    return e.finish()


def _products(e: Emitter, channels, count: int, tile: Tile, sums, numbers, w, products) -> None:
    """For each place the tiles' numbers times the kernel's: (place, tile, written)."""
    C, K = channels
    lanes, _, V, _, P = tile

    def place(i):
        source = e.at(numbers, e.times(i, count * C))
        kernel = e.at(w, e.times(i, C * K))
        target = e.at(products, e.times(i, count * K))

        def block(k):
            panel = e.at(kernel, e.times(k, V * lanes))

            def some(t):
                first = e.least(e.times(t, P), count - P)
                at = e.at(source, e.times(first, C))
                for variables in sums:
                    for variable in variables:
                        e.clear(variable)

                def channel(c):
                    row = e.at(panel, e.times(c, K))
                    read = [e.load(e.at(row, v * lanes), lanes) for v in range(V)]
                    for p in range(P):
                        value = e.spread([e.at(at, e.plus(c, p * C))], lanes)
                        for v in range(V):
                            e.multiply_add(value, read[v], sums[p][v])

                e.loop(C, channel)
                out = e.at(target, e.plus(e.times(first, K), e.times(k, V * lanes)))
                for p in range(P):
                    for v in range(V):
                        e.store(e.builder.load(sums[p][v]), e.at(out, p * K + v * lanes))

            e.loop(ceil(count / P), some)

        e.loop(K // (V * lanes), block)

    e.loop(PLACES, place)


def _each_tile(e: Emitter, shape: Shape, plan: Strips, top, one: Callable) -> None:
    """`one(row, column, height, width)` for each tile of a strip, with the outputs that it has."""
    last_row, last_column = (size % 2 for size in shape.out_size)

    def row(r, height: int) -> None:
        e.loop(plan.columns - last_column, lambda q: one(r, q, height, 2))
        if last_column:
            one(r, e.plus(plan.columns - 1), height, 1)

    if not last_row:
        e.loop(plan.strip, lambda r: row(r, 2))
        return
    # The last row of tiles has one row of outputs; only the last strip has it.
    whole = e.least(e.builder.sub(e.plus(plan.rows - 1), top), plan.strip)
    e.loop(whole, lambda r: row(r, 2))
    e.loop(plan.strip, lambda r: row(r, 1), whole)


def _gather(e: Emitter, shape: Shape, plan: Strips, top, products, y, bias, lanes: int) -> None:
    """Outputs from the products of a strip; what lies beyond an odd size is left out."""
    K, (_, out_columns) = shape.outputs, shape.out_size

    def one(r, q, height: int, width: int) -> None:
        tile = e.times(e.plus(e.times(r, plan.columns), q), K)
        pixel = e.plus(e.times(e.plus(top, r), 2 * out_columns * K), e.times(q, 2 * K))

        def vector(v):
            offset = e.times(v, lanes)
            at = e.at(products, e.plus(tile, offset))
            m = [
                [e.load(e.at(at, (i * SIDE + j) * plan.tiles * K), lanes) for j in range(SIDE)]
                for i in range(SIDE)
            ]
            made = _out_rows(e, _turned(_out_rows(e, m)))
            added = e.load(e.at(bias, offset), lanes)
            for j in range(width):
                for i in range(height):
                    place = e.at(y, e.plus(pixel, offset, (i * out_columns + j) * K))
                    e.store(e.builder.fadd(made[j][i], added), place)

        e.loop(K // lanes, vector)

    _each_tile(e, shape, plan, top, one)


def weights(name: str, shape: Shape, plan: Strips, lanes: int, held: int, *, half: bool) -> str:
    """The 16 sums of each weight, (place, K, C) of each thread; `unpack` makes gradients.

    Strips do not overlap here: `plan.strip` divides the rows of tiles.
    """
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, dy = (maps.address(e, i, half) for i in (3, 4))
    totals, frames, rooms, outs = (e.address(i) for i in (5, 6, 7, 8))
    count = shape.out_pixels * shape.outputs
    wide_dy = e.at(outs, e.times(thread, count))
    C, K = shape.inputs, shape.outputs
    _, columns = frame_size(shape)
    frame = e.at(frames, e.times(thread, frame_size(shape)[0] * columns * C))
    room_of = e.at(rooms, e.times(thread, PLACES * plan.tiles * (C + K)))
    numbers, gradients = room_of, e.at(room_of, PLACES * plan.tiles * C)
    own = e.at(totals, e.times(thread, PLACES * K * C))
    first, last = e.share(images, threads, thread)
    vectors = C // lanes
    wide = max(n for n in (4, 3, 2, 1) if vectors % n == 0)
    sums = [[e.variable(lanes) for _ in range(wide)] for _ in range(held)]
    places = [(u * lanes, lanes) for u in range(wide)]

    def image(n):
        maps.to_frame(e, shape, e.at(x, e.times(n, shape.pixels * C)), frame, columns, half)
        given = e.at(dy, e.times(n, count))
        if half:
            maps.read(e, count, given, wide_dy, half)
            given = wide_dy

        def strip(s):
            is_first = e.builder.and_(e.is_equal(n, first), e.is_equal(s, 0))
            top = e.times(s, plan.strip)
            _spread(e, frame, columns, C, plan, top, numbers, lanes)
            _spread_gradients(e, shape, plan, top, given, gradients, lanes)

            def place(i):
                source = e.at(numbers, e.times(i, plan.tiles * C))
                slopes = e.at(gradients, e.times(i, plan.tiles * K))
                target = e.at(own, e.times(i, K * C))

                def outputs(k):
                    def part(v):
                        corner = e.plus(e.times(k, held * C), e.times(v, wide * lanes))
                        kept = [e.at(target, e.plus(corner, h * C)) for h in range(held)]
                        start_sums(e, is_first, sums, places, kept)

                        def tile(t):
                            at = e.at(source, e.plus(e.times(t, C), e.times(v, wide * lanes)))
                            given_at = e.at(slopes, e.plus(e.times(t, K), e.times(k, held)))
                            read = [e.load(e.at(at, u * lanes), lanes) for u in range(wide)]
                            for h in range(held):
                                value = e.spread([e.at(given_at, h)], lanes)
                                for u in range(wide):
                                    e.multiply_add(read[u], value, sums[h][u])

                        e.loop(plan.tiles, tile)
                        keep_sums(e, sums, places, kept)

                    e.loop(vectors // wide, part)

                e.loop(K // held, outputs)

            e.loop(PLACES, place)

        e.loop(plan.rows // plan.strip, strip)

    e.loop(last, image, first)
    return e.finish()


def _spread_gradients(e: Emitter, shape: Shape, plan: Strips, top, dy, to, lanes: int) -> None:
    """The 16 numbers of each tile of gradients: (place, tile, written); zeros beyond the map."""
    K, (_, out_columns) = shape.outputs, shape.out_size

    def one(r, q, height: int, width: int) -> None:
        tile = e.times(e.plus(e.times(r, plan.columns), q), K)
        pixel = e.plus(e.times(e.plus(top, r), 2 * out_columns * K), e.times(q, 2 * K))

        def vector(v):
            offset = e.times(v, lanes)
            nothing = e.constant(0.0, lanes)
            given = [
                [
                    e.load(e.at(dy, e.plus(pixel, offset, (i * out_columns + j) * K)), lanes)
                    if i < height and j < width
                    else nothing
                    for j in range(2)
                ]
                for i in range(2)
            ]
            made = _gradient_rows(e, _turned(_gradient_rows(e, given)))
            _store_places(e, made, e.at(to, e.plus(tile, offset)), plan.tiles * K)

        e.loop(K // lanes, vector)

    _each_tile(e, shape, plan, top, one)


def unpack(name: str, channels: tuple[int, int], lanes: int) -> str:
    """Gradients (K, ky, kx, C) from sums (place, K, C): G' u G."""
    e = Emitter(name)
    sums, target = e.address(0), e.address(1)
    C, K = channels
    half = e.constant(0.5, lanes)

    def rows(u: list) -> list:
        made = [[], [], []]
        for a, b, c, f in zip(*u, strict=True):
            plus = e.builder.fmul(e.builder.fadd(b, c), half)
            made[0].append(e.builder.fadd(a, plus))
            made[1].append(e.builder.fmul(e.builder.fsub(b, c), half))
            made[2].append(e.builder.fadd(plus, f))
        return made

    def unit(k):
        def vector(v):
            offset = e.plus(e.times(k, C), e.times(v, lanes))
            u = [
                [
                    e.load(e.at(sums, e.plus(offset, (i * SIDE + j) * K * C)), lanes)
                    for j in range(SIDE)
                ]
                for i in range(SIDE)
            ]
            made = rows(_turned(rows(u)))
            out = e.plus(e.times(k, 9 * C), e.times(v, lanes))
            for j in range(3):
                for i in range(3):
                    e.store(made[j][i], e.at(target, e.plus(out, (i * 3 + j) * C)))

        e.loop(C // lanes, vector)

    e.loop(K, unit)
    return e.finish()
