"""A convolution over rows of pixels: stride 1 or more, any padding, forward.

The gradient of a map at stride 1 is such a convolution too, with the weights turned around.
"""

# mypy: ignore-errors

from __future__ import annotations

from math import ceil

from normlab.convolutions.loops import maps
from normlab.convolutions.loops.tiles import Tile
from normlab.convolutions.shape import Shape
from normlab.native.emitter import Emitter

ARGUMENTS = ("thread_number", "threads", "images", "x", "weight", "y", "bias", "frames", "outs")


def forward(name: str, shape: Shape, tile: Tile, *, half: bool) -> str:
    """The text of the loop; weights as `weights.pack` lays them: (block, ky, channel, kx, block's).

    For each thread `frames` has room for an image with its padding, zeros around it, and `outs` for
    a result; float32 maps without padding do not need them.
    """
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, y = (maps.address(e, i, half) for i in (3, 5))
    w, bias, frames, outs = (e.address(i) for i in (4, 6, 7, 8))
    count = shape.out_pixels * shape.outputs
    frame = e.at(frames, e.times(thread, shape.frame))
    made = e.at(outs, e.times(thread, count))
    first, last = e.share(images, threads, thread)

    def image(n):
        inside = e.at(x, e.times(n, shape.pixels * shape.inputs))
        if shape.is_padded or half:
            maps.to_frame(e, shape, inside, frame, shape.framed[1], half)
            inside = frame
        out = e.at(y, e.times(n, count))
        _image(e, shape, tile, inside, w, made if half else out, bias)
        if half:
            maps.write(e, count, made, out)

    e.loop(last, image, first)
    return e.finish()


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
