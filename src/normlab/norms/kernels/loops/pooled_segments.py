"""Pooled kinds by segments: blocks of one image that lie in one piece, gains and biases beside it.

For maps of few pixels, and for all channels of channels_last images: a loop over the whole block
instead of one over each channel's pixels.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

from normlab.norms.kernels.loops.bfloat16 import number_of, numbers
from normlab.norms.kernels.loops.blocks import finish
from normlab.norms.kernels.loops.columns import fold_sums, tile
from normlab.norms.kernels.loops.compiled import inlined, loop, ordered, where
from normlab.norms.kernels.loops.memory import split_blocks
from normlab.norms.kernels.loops.pooled_rows import image_blocks

PIECE = 1 << 10
"""Values of a channels_last image that are taken at a time."""
ROUND = 16
"""Images whose gradients of gains are summed before they join a float64 sum."""
SHORT = 16
"""Values of a block below which a loop over it alone is mostly beginning and end."""


@inlined
def columns(w):
    """Values that a channel has side by side, and how often a piece repeats the channels."""
    return (1, min(w.P, max(1, PIECE // w.C))) if w.nhwc else (w.P, 1)


@inlined
def pieces(w):
    """Values of a block, and of a piece of it that has gains and biases beside it."""
    run = w.size * w.P
    return run, w.C * columns(w)[1] if w.nhwc else run


@loop
def gains(w, given, tiles):
    """Gain and bias of each value of an image, or of a piece of one."""
    width, copies = columns(w)
    if w.affine:
        tile(given.weight, w.C, width, copies, tiles[0])
        tile(given.bias, w.C, width, copies, tiles[1])
    else:
        tiles[0] = 1
        tiles[1] = 0


@loop
def segment_affine(x, y, s, root, left, gain, bias, relu):
    """y = gain * ((x - s) * root - left) + bias, then ReLU."""
    zero = number_of(x)(0)
    if relu:
        for j in range(len(x)):
            v = ((x[j] - s) * root - left) * gain[j] + bias[j]
            y[j] = zero if v <= zero else v
    else:
        for j in range(len(x)):
            y[j] = ((x[j] - s) * root - left) * gain[j] + bias[j]


@loop
def segment_sums(x, dy, s, root, left, gain, bias, dgain, dbias, relu):
    """Sums of e = gain * dy and of e * xhat; adds to the gradients of gains and biases."""
    zero = number_of(x)(0)
    s0, s1 = zero, zero
    for j in range(len(x)):
        xhat = (x[j] - s) * root - left
        off = relu and xhat * gain[j] + bias[j] <= zero
        e, f = where(off, zero, dy[j]), where(off, zero, dy[j] * xhat)
        dbias[j] += e
        dgain[j] += f
        s0 += e * gain[j]
        s1 += f * gain[j]
    return s0, s1


@loop
def segment_dx(x, dy, out, s, root, left, gain, bias, slope, level, relu):
    """dx = root * gain * dy + slope * xhat + level, dy through the ReLU."""
    zero = number_of(x)(0)
    for j in range(len(x)):
        xhat = (x[j] - s) * root - left
        off, rest = relu and xhat * gain[j] + bias[j] <= zero, slope * xhat + level
        out[j] = where(off, rest, root * gain[j] * dy[j] + rest)


@ordered
def run_moments(x, run, M, E, V):
    """Mean M + E and biased variance V of each row of `run` values."""
    number = number_of(x)
    size = number(run)
    for g in range(len(M)):
        total, left, square = number(0), number(0), number(0)
        for j in range(run):
            total += x[g, j]
        center = total / size
        for j in range(run):
            d = x[g, j] - center
            left += d
            square += d * d
        left /= size
        M[g] = center
        E[g] = left
        V[g] = max(square - size * left * left, number(0)) / size


@ordered
def run_affine(x, y, run, b, gain, bias, relu):
    """`segment_affine` of each row of `run` values; gain and bias have rows too."""
    zero = number_of(x)(0)
    for g in range(len(b.M)):
        s, root = b.M[g], b.R[g]
        left = b.E[g] * root
        for j in range(run):
            v = ((x[g, j] - s) * root - left) * gain[g, j] + bias[g, j]
            y[g, j] = zero if relu and v <= zero else v


@ordered
def run_backward(x, dy, out, run, b, gain, bias, dgain, dbias, relu):
    """`segment_sums` and `segment_dx` of each row of `run` values."""
    number = number_of(x)
    zero, size = number(0), number(run)
    for g in range(len(b.M)):
        s, root = b.M[g], b.R[g]
        left = b.E[g] * root
        s0, s1 = zero, zero
        for j in range(run):
            xhat = (x[g, j] - s) * root - left
            e = zero if relu and xhat * gain[g, j] + bias[g, j] <= zero else dy[g, j]
            dbias[g, j] += e
            dgain[g, j] += e * xhat
            s0 += e * gain[g, j]
            s1 += e * gain[g, j] * xhat
        slope, level = -root * (s1 / size), -root * (s0 / size)
        for j in range(run):
            xhat = (x[g, j] - s) * root - left
            e = zero if relu and xhat * gain[g, j] + bias[g, j] <= zero else dy[g, j]
            out[g, j] = root * gain[g, j] * e + slope * xhat + level


@inlined
def in_runs(values, run):
    """An image's values, a row for each block."""
    return values.reshape(len(values) // run, run)


@loop
def runs_forward(x, y, w, blocks, tiles, run):
    """`forward` where blocks are shorter than a vector is good for: many beside each other."""
    groups, length = w.C // w.size, w.C * w.P
    gain, bias = in_runs(tiles[0], run), in_runs(tiles[1], run)
    for n in range(w.n0, w.n1):
        image = slice(n * length, (n + 1) * length)
        b = split_blocks(blocks, n * groups, (n + 1) * groups)
        row, to = in_runs(x[image], run), in_runs(y[image], run)
        run_moments(row, run, b.M, b.E, b.V)
        finish(x, w, n, n + 1, b)
        if w.relu:
            run_affine(row, to, run, b, gain, bias, True)
        else:
            run_affine(row, to, run, b, gain, bias, False)


@loop
def runs_backward(x, dy, out, w, blocks, tiles, n0, n1, run):
    """`backward` of such blocks, images n0 to n1."""
    groups, length = w.C // w.size, w.C * w.P
    gain, bias = in_runs(tiles[0], run), in_runs(tiles[1], run)
    dgain, dbias = in_runs(tiles[2], run), in_runs(tiles[3], run)
    for n in range(n0, n1):
        image = slice(n * length, (n + 1) * length)
        b = split_blocks(blocks, n * groups, (n + 1) * groups)
        row, grad, to = in_runs(x[image], run), in_runs(dy[image], run), in_runs(out[image], run)
        if w.relu:
            run_backward(row, grad, to, run, b, gain, bias, dgain, dbias, True)
        else:
            run_backward(row, grad, to, run, b, gain, bias, dgain, dbias, False)


@loop
def forward(x, y, w, blocks, given):
    """Statistics and map, image by image."""
    (width, copies), run = columns(w), w.size * w.P
    tiles = numbers((2, w.C * width * copies), x)
    gains(w, given, tiles)
    # Numbers that the compiler knows: it unrolls a block's loop and fills vectors with others.
    if run == 4:
        runs_forward(x, y, w, blocks, tiles, 4)
    elif run == 8:
        runs_forward(x, y, w, blocks, tiles, 8)
    elif run < SHORT:
        runs_forward(x, y, w, blocks, tiles, run)
    else:
        long_forward(x, y, w, blocks, tiles)


@loop
def backward(x, dy, out, w, blocks, given, gradients):
    """Sums and dx, image by image."""
    (width, copies), run = columns(w), w.size * w.P
    tiles = numbers((4, w.C * width * copies), x)
    gains(w, given, tiles)
    for first in range(w.n0, w.n1, ROUND):
        last = min(first + ROUND, w.n1)
        tiles[2:] = 0
        if run == 4:
            runs_backward(x, dy, out, w, blocks, tiles, first, last, 4)
        elif run == 8:
            runs_backward(x, dy, out, w, blocks, tiles, first, last, 8)
        elif run < SHORT:
            runs_backward(x, dy, out, w, blocks, tiles, first, last, run)
        else:
            long_backward(x, dy, out, w, blocks, tiles, first, last)
        fold_sums(tiles[2], tiles[3], w.C, width, copies, gradients.weight, gradients.bias)


@loop
def long_forward(x, y, w, blocks, tiles):
    """`forward` block by block."""
    groups, (run, length) = w.C // w.size, pieces(w)
    for n in range(w.n0, w.n1):
        image_blocks(x, w, blocks, n, n + 1)
        finish(x, w, n, n + 1, split_blocks(blocks, n * groups, (n + 1) * groups))
        for g in range(groups):
            k, first = n * groups + g, 0 if w.nhwc else g * run
            s, root, left = blocks.M[k], blocks.R[k], blocks.E[k] * blocks.R[k]
            for begin in range(k * run, (k + 1) * run, length):
                end = min(begin + length, (k + 1) * run)
                own = slice(first, first + end - begin)
                segment_affine(
                    x[begin:end], y[begin:end], s, root, left, tiles[0][own], tiles[1][own], w.relu
                )


@loop
def long_backward(x, dy, out, w, blocks, tiles, n0, n1):
    """`backward` block by block, images n0 to n1."""
    number = number_of(x)
    groups, (run, length) = w.C // w.size, pieces(w)
    for k in range(n0 * groups, n1 * groups):
        first = 0 if w.nhwc else k % groups * run
        s, root, left = blocks.M[k], blocks.R[k], blocks.E[k] * blocks.R[k]
        t0, t1 = 0.0, 0.0
        for begin in range(k * run, (k + 1) * run, length):
            end = min(begin + length, (k + 1) * run)
            own = slice(first, first + end - begin)
            s0, s1 = segment_sums(
                x[begin:end], dy[begin:end], s, root, left, tiles[0][own], tiles[1][own],
                tiles[2][own], tiles[3][own], w.relu,
            )  # fmt: skip
            t0 += s0
            t1 += s1
        slope, level = -root * number(t1 / run), -root * number(t0 / run)
        for begin in range(k * run, (k + 1) * run, length):
            end = min(begin + length, (k + 1) * run)
            own = slice(first, first + end - begin)
            segment_dx(
                x[begin:end], dy[begin:end], out[begin:end], s, root, left,
                tiles[0][own], tiles[1][own], slope, level, w.relu,
            )  # fmt: skip
