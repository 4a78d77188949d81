"""Pooled kinds by rows: the pixels of one (n, c) at a time, their factors in registers; nchw."""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import number_of, numbers
from normlab.norms.kernels.loops.blocks import channel_factors, channel_slopes, finish
from normlab.norms.kernels.loops.columns import CACHED
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.general import moments_nchw
from normlab.norms.kernels.loops.memory import barrier, split_blocks
from normlab.norms.kernels.loops.rows import row_affine, row_dx, row_moments, row_sums


@inlined
def together(w):
    """Splits that are done before the next are begun, while their values are in cache."""
    return max(1, 2 * CACHED * w.splits // (w.N * w.C * w.P)) if w.alone else w.splits


@loop
def pool(mean, var, first, last, C, size, blocks):
    """The blocks of images first to last from the moments of their (n, c)."""
    number = blocks.M.dtype.type
    for g in range(C // size):
        total, rows = 0.0, (last - first) * size
        for n in range(first, last):
            for r in range(n * C + g * size, n * C + (g + 1) * size):
                total += mean[r]
        center, squares = total / rows, 0.0
        for n in range(first, last):
            for r in range(n * C + g * size, n * C + (g + 1) * size):
                squares += var[r] + (mean[r] - center) * (mean[r] - center)
        blocks.M[g] = number(center)
        blocks.E[g] = number(center - np.float64(blocks.M[g]))
        blocks.V[g] = number(squares / rows)


@loop
def image_blocks(x, w, blocks, n0, n1):
    """The blocks of single images: each lies in one piece."""
    run, groups = w.size * w.P, w.C // w.size
    for k in range(n0 * groups, n1 * groups):
        blocks.M[k], blocks.E[k], squares = row_moments(x[k * run : (k + 1) * run])
        blocks.V[k] = squares / number_of(x)(run)


@loop
def forward(x, y, w, blocks, given, own, starts):
    """Statistics, then the map; `own` is room for means and variances of the (n, c)."""
    groups, rows = w.C // w.size, w.N * w.C
    factors = numbers((3, w.C), x)
    s, a, b = factors[0], factors[1], factors[2]
    n0, n1 = w.n0, w.n1
    for i in range(w.i0, w.i1, together(w)):
        j = min(i + together(w), w.i1)
        if w.alone:
            n0, n1 = starts[i], starts[j]
        if w.splits == w.N:
            image_blocks(x, w, blocks, n0, n1)
        else:
            moments_nchw(x, own[:rows], own[rows : 2 * rows], w.C, w.P, n0, n1)
        if not w.alone:
            barrier()
        if w.alone or w.thread == 0:
            for k in range(i, j):
                block = split_blocks(blocks, k * groups, (k + 1) * groups)
                if w.splits != w.N:
                    mean, var = own[:rows], own[rows : 2 * rows]
                    pool(mean, var, starts[k], starts[k + 1], w.C, w.size, block)
                finish(x, w, starts[k], starts[k + 1], block)
        if not w.alone:
            barrier()
        for k in range(i, j):
            first, last = max(n0, starts[k]), min(n1, starts[k + 1])
            if first < last:
                block = split_blocks(blocks, k * groups, (k + 1) * groups)
                channel_factors(w, block, given, s, a, b)
                for n in range(first, last):
                    for c in range(w.C):
                        row = slice((n * w.C + c) * w.P, (n * w.C + c + 1) * w.P)
                        row_affine(x[row], y[row], s[c], a[c], b[c], w.relu)


@inlined
def six(arrays):
    """The rows of an array of six."""
    return arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], arrays[5]


@loop
def image_sums(x, dy, w, n, s, a, b, d0, d1):
    """Sums of dy and of dy * (x - s) of an image's channels."""
    for c in range(w.C):
        row = slice((n * w.C + c) * w.P, (n * w.C + c + 1) * w.P)
        d0[c], d1[c] = row_sums(x[row], dy[row], s[c], a[c], b[c], w.relu)


@loop
def image_dx(x, dy, out, w, n, s, a, b, root, slope, level):
    """dx of an image's channels."""
    for c in range(w.C):
        row = slice((n * w.C + c) * w.P, (n * w.C + c + 1) * w.P)
        row_dx(
            x[row], dy[row], out[row],
            s[c], a[c], b[c], a[c], root[c], slope[c], level[c], w.relu,
        )  # fmt: skip


@loop
def backward(x, dy, out, w, blocks, given, gradients, sums, starts):
    """Sums, then dx; `sums` is room for 2 * N * C of float64."""
    groups, rows = w.C // w.size, w.N * w.C
    s, a, b, root, slope, level = six(numbers((6, w.C), x))
    if w.splits == w.N:
        for n in range(w.n0, w.n1):
            d0, d1 = sums[n * w.C : (n + 1) * w.C], sums[rows + n * w.C : rows + (n + 1) * w.C]
            block = split_blocks(blocks, n * groups, (n + 1) * groups)
            channel_factors(w, block, given, s, a, b)
            image_sums(x, dy, w, n, s, a, b, d0, d1)
            count = w.P * w.size
            channel_slopes(d0, d1, w, block, given, count, gradients, root, slope, level)
            image_dx(x, dy, out, w, n, s, a, b, root, slope, level)
    else:
        split_backward(
            x, dy, out, w, blocks, given, gradients, sums, starts, s, a, b, root, slope, level
        )


@loop
def split_backward(
    x, dy, out, w, blocks, given, gradients, sums, starts, s, a, b, root, slope, level
):
    """The same for splits of several images."""
    groups, rows = w.C // w.size, w.N * w.C
    channels = np.empty((2, w.C), np.float64)
    n0, n1 = w.n0, w.n1
    for i in range(w.i0, w.i1, together(w)):
        j = min(i + together(w), w.i1)
        if w.alone:
            n0, n1 = starts[i], starts[j]
        for k in range(i, j):
            block = split_blocks(blocks, k * groups, (k + 1) * groups)
            channel_factors(w, block, given, s, a, b)
            for n in range(max(n0, starts[k]), min(n1, starts[k + 1])):
                d0, d1 = sums[n * w.C : (n + 1) * w.C], sums[rows + n * w.C : rows + (n + 1) * w.C]
                image_sums(x, dy, w, n, s, a, b, d0, d1)
        if not w.alone:
            barrier()
        for k in range(i, j):
            channels[:] = 0
            for n in range(starts[k], starts[k + 1]):
                for c in range(w.C):
                    channels[0, c] += sums[n * w.C + c]
                    channels[1, c] += sums[rows + n * w.C + c]
            block = split_blocks(blocks, k * groups, (k + 1) * groups)
            channel_factors(w, block, given, s, a, b)
            count = (starts[k + 1] - starts[k]) * w.P * w.size
            channel_slopes(
                channels[0], channels[1], w, block, given, count, gradients, root, slope, level
            )
            for n in range(max(n0, starts[k]), min(n1, starts[k + 1])):
                image_dx(x, dy, out, w, n, s, a, b, root, slope, level)
