"""A convolution over rows of pixels: stride 1 or more, any padding, forward.

The gradient of a map at stride 1 is such a convolution too, with the weights turned around.
"""

# mypy: ignore-errors

from __future__ import annotations

from math import ceil

from normlab.convolutions.loops.tiles import Tile
from normlab.convolutions.shape import Shape
from normlab.native.emitter import Emitter

ARGUMENTS = ("thread_number", "threads", "images", "x", "weight", "y", "bias", "frames")


def forward(name: str, shape: Shape, tile: Tile) -> str:
    """The text of the loop; weights as `weights.pack` lays them: (block, ky, channel, kx, block's).

    `frames` has room for an image with its padding for each thread, zeros around it.
    """
    e = Emitter(name)
    threads, images = e.argument(1), e.argument(2)
    thread = e.thread(0)
    x, w, y, bias, frames = (e.address(i) for i in range(3, 8))
    frame = e.at(frames, e.times(thread, shape.frame))
    first, last = e.share(images, threads, thread)

    def image(n):
        inside = e.at(x, e.times(n, shape.pixels * shape.inputs))
        if shape.is_padded:
            to_frame(e, shape, inside, frame)
            inside = frame
        out = e.at(y, e.times(n, shape.out_pixels * shape.outputs))
        _image(e, shape, tile, inside, w, out, bias)

    e.loop(last, image, first)
    return e.finish()


def to_frame(e: Emitter, shape: Shape, image, frame) -> None:
    """Copy an image into its frame of zeros."""
    length = shape.width * shape.inputs
    row_of_frame = shape.framed[1] * shape.inputs
    begin = shape.padding[0] * row_of_frame + shape.padding[1] * shape.inputs

    def row(r):
        source = e.at(image, e.times(r, length))
        target = e.at(frame, e.plus(e.times(r, row_of_frame), begin))
        done = 0
        for lanes in (16, 8, 4, 2, 1):
            count = (length - done) // lanes
            if count:
                base = done

                def piece(i, lanes=lanes, base=base):
                    offset = e.plus(e.times(i, lanes), base)
                    e.store(e.load(e.at(source, offset), lanes), e.at(target, offset))

                e.loop(count, piece)
                done += count * lanes

    e.loop(shape.height, row)


def _image(e: Emitter, shape: Shape, tile: Tile, x, w, y, bias) -> None:
    (kh, kw), (sh, sw) = shape.kernel, shape.stride
    (out_rows, out_columns), columns = shape.out_size, shape.framed[1]
    C, K = shape.inputs, shape.outputs
    lanes, parts, V, R, P = tile
    own = lanes // parts  # channels of one pixel in a vector
    step = R * parts
    sums = [[[e.variable(lanes) for _ in range(V)] for _ in range(P)] for _ in range(R)]

    def widened(vector):
        return vector if parts == 1 else e.shuffled(vector, None, list(range(own)) * parts)

    def block(k):
        weights = e.at(w, e.times(k, kh * kw * C * tile.channels))
        start = [
            widened(e.load(e.at(bias, e.plus(e.times(k, tile.channels), v * own)), own))
            for v in range(V)
        ]

        def rows(i):
            top = e.least(e.times(i, step), out_rows - step)

            def pixels(j):
                left = e.least(e.times(j, P), out_columns - P)
                corner = e.at(x, e.plus(e.times(top, sh * columns * C), e.times(left, sw * C)))
                for r in range(R):
                    for p in range(P):
                        for v in range(V):
                            e.builder.store(start[v], sums[r][p][v])

                def taps(ky):
                    def channel(c):
                        at = e.at(corner, e.plus(e.times(ky, columns * C), c))
                        row = e.at(weights, e.times(e.plus(e.times(ky, C), c), kw * tile.channels))
                        read = [
                            [
                                widened(e.load(e.at(row, kx * tile.channels + v * own), own))
                                for v in range(V)
                            ]
                            for kx in range(kw)
                        ]
                        for r in range(R):
                            for q in range((P - 1) * sw + kw):
                                meet = [
                                    ((q - kx) // sw, kx)
                                    for kx in range(kw)
                                    if (q - kx) % sw == 0 and 0 <= (q - kx) // sw < P
                                ]
                                if not meet:
                                    continue
                                places = [
                                    e.at(at, ((r + part * R) * sh * columns + q) * C)
                                    for part in range(parts)
                                ]
                                value = e.spread(places, lanes)
                                for p, kx in meet:
                                    for v in range(V):
                                        e.multiply_add(value, read[kx][v], sums[r][p][v])

                    e.loop(C, channel)

                e.loop(kh, taps)
                base = e.plus(
                    e.times(top, out_columns * K), e.times(left, K), e.times(k, tile.channels)
                )
                out = e.at(y, base)
                for r in range(R):
                    for p in range(P):
                        for v in range(V):
                            total = e.builder.load(sums[r][p][v])
                            for part in range(parts):
                                lane = list(range(part * own, (part + 1) * own))
                                piece = total if parts == 1 else e.shuffled(total, None, lane)
                                pixel = (r + part * R) * out_columns + p
                                e.store(piece, e.at(out, pixel * K + v * own))

            e.loop(ceil(out_columns / P), pixels)

        e.loop(ceil(out_rows / step), rows)

    e.loop(K // tile.channels, block)
