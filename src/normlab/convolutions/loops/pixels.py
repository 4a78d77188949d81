"""A convolution over images at one pixel: any kernel and stride, forward and gradient of the map.

Only what meets is multiplied (`normlab.convolutions.meetings`).
"""

# mypy: ignore-errors

from __future__ import annotations

from math import ceil

from normlab.convolutions.loops.tiles import Tile
from normlab.convolutions.meetings import Meetings
from normlab.native.emitter import Emitter

ARGUMENTS = ("thread_number", "threads", "images", "x", "weight", "y", "bias")


def forward(
    name: str, met: Meetings, sizes: tuple[int, int], channels: tuple[int, int], tile: Tile
) -> str:
    """The text of the loop; weights as `weights.pack` lays them: (block, tap, channel, block's).

    Args:
        name: Of the function.
        met: What meets.
        sizes: Pixels of a map that is read, and taps.
        channels: That are read and written.
        tile: Of images.
    """
    e = Emitter(name)
    threads, images, thread = e.argument(1), e.argument(2), e.thread(0)
    x, w, y, bias = (e.address(i) for i in range(3, 7))
    (pixels, taps), (C, K) = sizes, channels
    lanes, _, V, _, P = tile
    ends, reads, weights_at = [0], [], []
    for pairs in met:
        reads += [pixel * C for pixel, _ in pairs]
        weights_at += [tap * C * tile.channels for _, tap in pairs]
        ends.append(len(reads))
    tables = [
        e.table(kind, values)
        for kind, values in (("ends", ends), ("reads", reads), ("taps", weights_at))
    ]
    tiles = e.builder.sdiv(e.plus(images, P - 1), e.plus(P))
    first, last = e.share(tiles, threads, thread)
    highest = e.builder.sub(images, e.plus(P))
    sums = [[e.variable(lanes) for _ in range(V)] for _ in range(P)]

    def block(k):
        panel = e.at(w, e.times(k, taps * C * tile.channels))
        start = [
            e.load(e.at(bias, e.plus(e.times(k, tile.channels), v * lanes)), lanes)
            for v in range(V)
        ]

        def pixel(q):
            begin, end = (e.look_up(tables[0], i) for i in (q, e.plus(q, 1)))

            def some(t):
                n = e.least(e.times(t, P), highest)
                source = e.at(x, e.times(n, pixels * C))
                for p in range(P):
                    for v in range(V):
                        e.builder.store(start[v], sums[p][v])

                def meeting(m):
                    at = e.at(source, e.look_up(tables[1], m))
                    tap = e.at(panel, e.look_up(tables[2], m))

                    def channel(c):
                        row = e.at(tap, e.times(c, tile.channels))
                        read = [e.load(e.at(row, v * lanes), lanes) for v in range(V)]
                        for p in range(P):
                            value = e.spread([e.at(at, e.plus(c, p * pixels * C))], lanes)
                            for v in range(V):
                                e.multiply_add(value, read[v], sums[p][v])

                    e.loop(C, channel)

                e.loop(end, meeting, begin)
                out = e.plus(e.times(n, len(met) * K), e.times(q, K), e.times(k, tile.channels))
                for p in range(P):
                    for v in range(V):
                        place = e.at(y, e.plus(out, p * len(met) * K + v * lanes))
                        e.store(e.builder.load(sums[p][v]), place)

            e.loop(last, some, first)

        e.loop(len(met), pixel)

    e.loop(K // tile.channels, block)
    return e.finish()


def tiles_of(images: int, tile: Tile) -> int:
    """Tiles that cover so many images."""
    return ceil(images / tile.pixels)
