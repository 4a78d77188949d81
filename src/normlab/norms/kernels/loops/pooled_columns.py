"""Pooled kinds by columns: a row of values at a time, factors in arrays beside it.

For channels_last maps, and for single channels pooled over images of few pixels.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import numbers
from normlab.norms.kernels.loops.blocks import channel_factors, channel_slopes, finish
from normlab.norms.kernels.loops.columns import (
    CACHED,
    channel_moments,
    columns_of,
    fold_moments,
    fold_sums,
    join_moments,
    piece_affine,
    piece_dx,
    piece_moments,
    piece_sums,
    tile,
)
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.memory import barrier, share, split_blocks

RUNS = 1 << 15
"""Values of an image that stay in cache while the runs of its channels are summed up twice."""
PARTS = 8
"""Parts of a split that threads share: as many whatever the team, so that sums are the same."""


@inlined
def parts_of(rows, L):
    """Parts of a split of that many rows: one, unless each has several rounds of the cache."""
    return max(1, min(PARTS, rows // (4 * max(1, CACHED // L))))


@inlined
def part_of(part, parts, length, L):
    """Where the values of a part begin and end; the last part has the short row."""
    rows = length // L
    first, last = share(rows, part, parts)
    return first * L, length if part == parts - 1 else last * L


@loop
def join_parts(moments, parts, length, L):
    """Take the moments of all parts of a split into those of the first."""
    p0, p1 = part_of(0, parts, length, L)
    done, short = (p1 - p0) // L, (p1 - p0) % L
    for part in range(1, parts):
        p0, p1 = part_of(part, parts, length, L)
        more, tail = (p1 - p0) // L, (p1 - p0) % L
        join_moments(
            done, more, L, short, tail, moments[0, 0], moments[0, 1], moments[0, 2],
            moments[part, 0], moments[part, 1], moments[part, 2],
        )  # fmt: skip
        done, short = done + more, tail


@loop
def tile_all(values, count, C, width, copies, tiles):
    """Give each column its channel's value of the first `count` arrays."""
    for k in range(count):
        tile(values[k], C, width, copies, tiles[k])


@loop
def forward(x, y, w, blocks, given, scratch, starts):
    """Statistics, then the map; `scratch` is room for the moments of all splits' parts."""
    groups = w.C // w.size
    width, copies = columns_of(w.C, w.P, w.nhwc, w.splits == w.N)
    L = w.C * width * copies
    tiles, channels = numbers((6, L), x), numbers((3, w.C), x)
    images_of_runs = w.splits == w.N and w.size > 1 and w.C * w.P <= RUNS
    for i in range(w.i0, w.i1):
        first, length = starts[i] * w.C * w.P, (starts[i + 1] - starts[i]) * w.C * w.P
        if images_of_runs:
            piece = slice(first, first + length)
            block = split_blocks(blocks, i * groups, (i + 1) * groups)
            channel_moments(
                x[piece], L, w.C, w.size, tiles[0], tiles[1], tiles[2], tiles[3],
                block.M, block.E, block.V,
            )  # fmt: skip
            finish(x, w, starts[i], starts[i + 1], block)
            channel_factors(w, block, given, channels[0], channels[1], channels[2])
            tile_all(channels, 3, w.C, width, copies, tiles)
            piece_affine(x[piece], y[piece], tiles[0], tiles[1], tiles[2], L, w.relu)
            continue
        # A thread by itself has room for one split, a team for all.
        at = (w.thread if w.alone else i) * PARTS * 3 * L
        moments = scratch[at : at + PARTS * 3 * L].reshape(PARTS, 3, L)
        parts = parts_of(length // L, L)
        t0, t1 = (0, parts) if w.alone else share(parts, w.thread, w.team)
        for part in range(t0, t1):
            p0, p1 = part_of(part, parts, length, L)
            piece_moments(
                x[first + p0 : first + p1], L,
                moments[part, 0], moments[part, 1], moments[part, 2], tiles[3], tiles[4], tiles[5],
            )  # fmt: skip
        if not w.alone:
            barrier()
        block = split_blocks(blocks, i * groups, (i + 1) * groups)
        if w.alone or w.thread == 0:
            join_parts(moments, parts, length, L)
            fold_moments(
                moments[0, 0], moments[0, 1], moments[0, 2], length // L, length % L,
                w.C, width, copies, w.size, block.M, block.E, block.V,
            )  # fmt: skip
            finish(x, w, starts[i], starts[i + 1], block)
        if not w.alone:
            barrier()
        channel_factors(w, block, given, channels[0], channels[1], channels[2])
        tile_all(channels, 3, w.C, width, copies, tiles)
        p0, p1 = (0, length) if w.alone else part_of(w.thread, w.team, length, L)
        piece = slice(first + p0, first + p1)
        piece_affine(x[piece], y[piece], tiles[0], tiles[1], tiles[2], L, w.relu)


@loop
def backward(x, dy, out, w, blocks, given, gradients, scratch, starts):
    """Sums, then dx; `scratch` is room for the sums of all splits' parts."""
    groups = w.C // w.size
    width, copies = columns_of(w.C, w.P, w.nhwc, w.splits == w.N)
    L = w.C * width * copies
    tiles, channels = numbers((10, L), x), numbers((6, w.C), x)
    totals = np.empty((2, w.C), np.float64)
    for i in range(w.i0, w.i1):
        first, length = starts[i] * w.C * w.P, (starts[i + 1] - starts[i]) * w.C * w.P
        at = (w.thread if w.alone else i) * PARTS * 2 * L
        sums = scratch[at : at + PARTS * 2 * L].reshape(PARTS, 2, L)
        block = split_blocks(blocks, i * groups, (i + 1) * groups)
        channel_factors(w, block, given, channels[0], channels[1], channels[2])
        tile_all(channels, 3, w.C, width, copies, tiles)
        parts = parts_of(length // L, L)
        tiles[8:] = 0
        if w.alone:
            piece = slice(first, first + length)
            piece_sums(
                x[piece], dy[piece], tiles[0], tiles[1], tiles[2], tiles[8], tiles[9],
                tiles[6], tiles[7], L, w.relu,
            )  # fmt: skip
        else:
            t0, t1 = share(parts, w.thread, w.team)
            sums[t0:t1] = 0
            for part in range(t0, t1):
                p0, p1 = part_of(part, parts, length, L)
                piece = slice(first + p0, first + p1)
                piece_sums(
                    x[piece], dy[piece], tiles[0], tiles[1], tiles[2], sums[part, 0], sums[part, 1],
                    tiles[6], tiles[7], L, w.relu,
                )  # fmt: skip
            barrier()
            # Every thread of a team adds up all parts for itself: less than to wait once more.
            for part in range(parts):
                for j in range(L):
                    tiles[8, j] += sums[part, 0, j]
                    tiles[9, j] += sums[part, 1, j]
        totals[:] = 0
        fold_sums(tiles[8], tiles[9], w.C, width, copies, totals[0], totals[1])
        count = (starts[i + 1] - starts[i]) * w.P * w.size
        channel_slopes(
            totals[0], totals[1], w, block, given, count, gradients,
            channels[3], channels[4], channels[5],
        )  # fmt: skip
        tile_all(channels[3:], 3, w.C, width, copies, tiles[3:])
        p0, p1 = (0, length) if w.alone else part_of(w.thread, w.team, length, L)
        piece = slice(first + p0, first + p1)
        piece_dx(
            x[piece], dy[piece], out[piece], tiles[0], tiles[1], tiles[2], tiles[1],
            tiles[3], tiles[4], tiles[5], L, w.relu,
        )  # fmt: skip
