"""Gradients of weights, and the order in which the loops read weights."""

# mypy: ignore-errors

from __future__ import annotations

from typing import NamedTuple

from normlab.convolutions.loops import maps
from normlab.convolutions.loops.tiles import LEAST
from normlab.convolutions.meetings import Meetings
from normlab.convolutions.shape import Shape
from normlab.native.emitter import Emitter

PACK_ARGUMENTS = ("weight", "packed")
ROWS_ARGUMENTS = ("thread_number", "threads", "images", "x", "dy", "dweight", "frames", "outs")
PIXELS_ARGUMENTS = ("thread_number", "threads", "images", "x", "dy", "dweight")

IMAGES = 64
"""Of a block: its maps stay in the cache while all gradients of the block are made."""


def pack(
    name: str, sizes: tuple[int, int, int], block: int, *, turned: bool, rows: int, lanes: int
) -> str:
    """Lay channels-last weights (K, taps, C) as the loops read them.

    (block, ky, channel read, kx, the block's channels written), where `rows` is the number of ky:
    all taps are in one kx for the walk over pixels, which has the taps outside of the channels.

    Args:
        name: Of the function.
        sizes: K, taps and C.
        block: Channels written of a block.
        turned: For the gradient of a map: C is written, K is read, and for rows the taps turn.
        rows: Rows of the kernel for the walk over rows; 0 for the one over pixels.
        lanes: Of a vector.
    """
    e = Emitter(name)
    w, packed = e.address(0), e.address(1)
    K, taps, C = sizes
    read, written = (K, C) if turned else (C, K)
    step_read, step_written = (taps * C, 1) if turned else (1, taps * C)
    wide = taps // rows if rows else 1
    lanes = min(lanes, block)

    def of_tap(tap: int):
        """Where a tap begins in a block, and the distance between its channels."""
        if not rows:
            return tap * read * block, block
        if turned:
            tap = taps - 1 - tap
        ky, kx = divmod(tap, wide)
        return (ky * read * wide + kx) * block, wide * block

    def one(b):
        for tap in range(taps):
            begin, step = of_tap(tap)
            source = e.at(w, e.plus(e.times(b, block * step_written), tap * C))
            target = e.at(packed, e.plus(e.times(b, taps * read * block), begin))
            for part in range(0, block, lanes):
                _pack_part(
                    e,
                    e.at(source, part * step_written),
                    e.at(target, part),
                    read,
                    (step_read, step_written, step),
                    lanes,
                )

    e.loop(written // block, one)
    return e.finish()


def _pack_part(e: Emitter, source, target, read: int, steps: tuple[int, int, int], lanes: int):
    step_read, step_written, step = steps
    if step_written == 1:

        def row(r):
            vector = e.load(e.at(source, e.times(r, step_read)), lanes)
            e.store(vector, e.at(target, e.times(r, step)))

        e.loop(read, row)
        return
    squares = read // lanes

    def square(i):
        base = e.at(source, e.times(i, lanes))
        columns = [e.load(e.at(base, j * step_written), lanes) for j in range(lanes)]
        out = e.at(target, e.times(i, lanes * step))
        for j, vector in enumerate(e.transposed(columns)):
            e.store(vector, e.at(out, j * step))

    e.loop(squares, square)
    for r in range(squares * lanes, read):
        for j in range(lanes):
            value = e.builder.load(e.at(source, r + j * step_written))
            e.builder.store(value, e.at(target, r * step + j))


def by_rows(name: str, shape: Shape, vector: Vector, *, half: bool) -> str:
    """Gradient of weights over rows of pixels: (K, kh, kw, C) of each thread.

    A row of taps is a row of numbers in a channels-last map: a vector of it times one gradient.
    With fewer than 8 channels vectors go over the outputs, and the sums are (kh, kw, C, K).
    """
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, dy = (maps.address(e, i, half) for i in (3, 4))
    dw, frames, outs = (e.address(i) for i in (5, 6, 7))
    count = shape.out_pixels * shape.outputs
    frame = e.at(frames, e.times(thread, shape.frame))
    wide = e.at(outs, e.times(thread, count))
    own = e.at(dw, e.times(thread, shape.weights))
    first, last = e.share(images, threads, thread)

    def image(n):
        inside = e.at(x, e.times(n, shape.pixels * shape.inputs))
        if shape.is_padded or half:
            maps.to_frame(e, shape, inside, frame, shape.framed[1], half)
            inside = frame
        gradient = e.at(dy, e.times(n, count))
        if half:
            maps.read(e, count, gradient, wide, half)
            gradient = wide
        if is_over_outputs(shape):
            _over_outputs(e, shape, inside, gradient, own, vector, e.is_equal(n, first))
        else:
            _over_inputs(e, shape, inside, gradient, own, vector, e.is_equal(n, first))

    e.loop(last, image, first)
    return e.finish()


def is_over_outputs(shape: Shape) -> bool:
    """Whether the sums of `by_rows` lie as (kh, kw, C, K)."""
    return shape.inputs % LEAST != 0


class Vector(NamedTuple):
    """The processor's vectors.

    Attributes:
        lanes: float32 numbers in one.
        registers: How many it holds.
    """

    lanes: int
    registers: int

    @property
    def sums(self) -> int:
        """That are kept in registers: some are left for what is multiplied."""
        return 24 if self.registers >= 32 else 12


def _pieces(length: int, vector: Vector) -> list[list[int]]:
    """A row of numbers in vectors, and these in equal parts of a quarter of the sums at most."""
    lanes, most = vector.lanes, vector.sums // 4
    vectors = [lanes] * (length // lanes) + [LEAST] * (length % lanes // LEAST)
    if vectors[-1] != lanes and len(vectors) > most:
        vectors = [LEAST] * (length // LEAST)
    size = max(n for n in range(1, most + 1) if len(vectors) % n == 0)
    return [vectors[i : i + size] for i in range(0, len(vectors), size)]


def _held(vectors: int, outputs: int, vector: Vector) -> int:
    """Gradients that share a piece: as many as there are sums for."""
    return max(n for n in range(1, vector.sums // vectors + 1) if outputs % n == 0)


def _offsets(vectors: list[int]) -> list[tuple[int, int]]:
    """Where each vector begins, and its lanes."""
    return [(sum(vectors[:i]), lanes) for i, lanes in enumerate(vectors)]


def _over_inputs(e: Emitter, shape: Shape, x, dy, dw, vector: Vector, is_first) -> None:
    (kh, kw), (sh, sw) = shape.kernel, shape.stride
    (out_rows, out_columns), columns = shape.out_size, shape.framed[1]
    C, K = shape.inputs, shape.outputs
    pieces = _pieces(kw * C, vector)
    length, places = sum(pieces[0]), _offsets(pieces[0])
    held = _held(len(places), K, vector)
    sums = [[e.variable(size) for _, size in places] for _ in range(held)]

    def taps(ky):
        def piece(part):
            start = e.at(x, e.plus(e.times(ky, columns * C), e.times(part, length)))

            def outputs(block):
                kept = [
                    e.at(
                        dw,
                        e.plus(
                            e.times(e.plus(e.times(block, held), j), kh * kw * C),
                            e.times(ky, kw * C),
                            e.times(part, length),
                        ),
                    )
                    for j in range(held)
                ]
                start_sums(e, is_first, sums, places, kept)
                gradients = e.at(dy, e.times(block, held))

                def row(r):
                    at = e.at(start, e.times(r, sh * columns * C))
                    given = e.at(gradients, e.times(r, out_columns * K))

                    def pixel(p):
                        _outer(
                            e,
                            e.at(at, e.times(p, sw * C)),
                            e.at(given, e.times(p, K)),
                            sums,
                            places,
                        )

                    e.loop(out_columns, pixel)

                e.loop(out_rows, row)
                keep_sums(e, sums, places, kept)

            e.loop(K // held, outputs)

        e.loop(len(pieces), piece)

    e.loop(kh, taps)


def _outer(e: Emitter, numbers, gradients, sums, places) -> None:
    """Add the products of a row of numbers with some gradients."""
    vectors = [e.load(e.at(numbers, offset), size) for offset, size in places]
    for j, variables in enumerate(sums):
        spread = {size: e.spread([e.at(gradients, j)], size) for size in {s for _, s in places}}
        for variable, vector, (_, size) in zip(variables, vectors, places, strict=True):
            e.multiply_add(vector, spread[size], variable)


def start_sums(
    e: Emitter, is_first, variables: list, places: list[tuple[int, int]], at: list
) -> None:
    """Sums from zero the first time, and later from where they are kept.

    Args:
        e: Writes.
        is_first: Whether it is the first time.
        variables: Rows of sums.
        places: Offset and lanes of each of a row.
        at: Where each row is kept.
    """

    def clear() -> None:
        for row in variables:
            for variable in row:
                e.clear(variable)

    def load() -> None:
        for row, kept in zip(variables, at, strict=True):
            for variable, (offset, size) in zip(row, places, strict=True):
                e.builder.store(e.load(e.at(kept, offset), size), variable)

    e.either(is_first, clear, load)


def keep_sums(e: Emitter, variables: list, places: list[tuple[int, int]], at: list) -> None:
    """Put sums where they are kept."""
    for row, kept in zip(variables, at, strict=True):
        for variable, (offset, _) in zip(row, places, strict=True):
            e.store(e.builder.load(variable), e.at(kept, offset))


def _over_outputs(e: Emitter, shape: Shape, x, dy, dw, vector: Vector, is_first) -> None:
    (kh, kw), (sh, sw) = shape.kernel, shape.stride
    (out_rows, out_columns), columns = shape.out_size, shape.framed[1]
    C, K = shape.inputs, shape.outputs
    size = vector.lanes if K % vector.lanes == 0 else LEAST
    count = kw * C
    sums = [e.variable(size) for _ in range(count)]

    def taps(ky):
        def block(k):
            rows = [[variable] for variable in sums]
            kept = [
                e.at(dw, e.plus(e.times(ky, count * K), i * K, e.times(k, size)))
                for i in range(count)
            ]
            start_sums(e, is_first, rows, [(0, size)], kept)

            def row(r):
                at = e.at(x, e.times(e.plus(e.times(r, sh), ky), columns * C))
                given = e.at(dy, e.plus(e.times(r, out_columns * K), e.times(k, size)))

                def pixel(p):
                    vector = e.load(e.at(given, e.times(p, K)), size)
                    for i, variable in enumerate(sums):
                        value = e.spread([e.at(at, e.plus(e.times(p, sw * C), i))], size)
                        e.multiply_add(value, vector, variable)

                e.loop(out_columns, pixel)

            e.loop(out_rows, row)
            keep_sums(e, rows, [(0, size)], kept)

        e.loop(K // size, block)

    e.loop(kh, taps)


def by_pixels(
    name: str, met: Meetings, sizes: tuple[int, int], channels: tuple[int, int], vector: Vector
) -> str:
    """Gradient of weights over images at one pixel: (K, taps, C) of each thread.

    Args:
        name: Of the function.
        met: For each output pixel what it is made of.
        sizes: Pixels of a map, and taps.
        channels: C and K.
        vector: The processor's.
    """
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, dy, dw = (e.address(i) for i in range(3, 6))
    (pixels, taps), (C, K) = sizes, channels
    own = e.at(dw, e.times(thread, K * taps * C))
    by_tap = [[] for _ in range(taps)]
    for out, pairs in enumerate(met):
        for inside, tap in pairs:
            by_tap[tap].append((inside * C, out * K))
    ends = [0]
    for pairs in by_tap:
        ends.append(ends[-1] + len(pairs))
    flat = [pair for pairs in by_tap for pair in pairs]
    tables = [
        e.table(kind, values)
        for kind, values in (
            ("ends", ends),
            ("reads", [inside for inside, _ in flat]),
            ("outs", [out for _, out in flat]),
        )
    ]
    own_lanes = vector.lanes if C % vector.lanes == 0 else LEAST
    pieces = _pieces(C, vector._replace(lanes=own_lanes))
    length, places = sum(pieces[0]), _offsets(pieces[0])
    held = _held(len(places), K, vector)
    sums = [[e.variable(size) for _, size in places] for _ in range(held)]
    first, last = e.share(images, threads, thread)
    count = e.builder.sub(last, first)
    blocks = e.builder.sdiv(e.plus(count, IMAGES - 1), e.plus(IMAGES))

    def some(block):
        begin = e.plus(first, e.times(block, IMAGES))
        end = e.least(e.plus(begin, IMAGES), last)

        def outputs(k):
            def piece(part):
                def tap_of(tap):
                    kept = [
                        e.at(
                            own,
                            e.plus(
                                e.times(e.plus(e.times(k, held), j), taps * C),
                                e.times(tap, C),
                                e.times(part, length),
                            ),
                        )
                        for j in range(held)
                    ]
                    start_sums(e, e.is_equal(block, 0), sums, places, kept)

                    def meeting(m):
                        inside = e.plus(e.look_up(tables[1], m), e.times(part, length))
                        out = e.plus(e.look_up(tables[2], m), e.times(k, held))
                        source, gradients = e.at(x, inside), e.at(dy, out)

                        def image(n):
                            _outer(
                                e,
                                e.at(source, e.times(n, pixels * C)),
                                e.at(gradients, e.times(n, len(met) * K)),
                                sums,
                                places,
                            )

                        e.loop(end, image, begin)

                    e.loop(e.look_up(tables[0], e.plus(tap, 1)), meeting, e.look_up(tables[0], tap))
                    keep_sums(e, sums, places, kept)

                e.loop(taps, tap_of)

            e.loop(len(pieces), piece)

        e.loop(K // held, outputs)

    e.loop(blocks, some)
    return e.finish()
