"""Pooled kinds by segments: blocks of one image that lie in one piece, gains and biases beside it.

For maps of few pixels: a loop over the whole block instead of one over each channel's pixels.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.blocks import finish
from normlab.norms.kernels.loops.columns import fold_sums, tile
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.memory import split_blocks
from normlab.norms.kernels.loops.pooled_rows import image_blocks


@inlined
def columns(w):
    """Values that a channel has side by side in an image, and how often channels are repeated."""
    return (1, w.P) if w.nhwc else (w.P, 1)


@loop
def gains(w, given, tiles):
    """Gain and bias of each value of an image."""
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
    zero = x.dtype.type(0)
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
    zero = x.dtype.type(0)
    s0, s1 = zero, zero
    for j in range(len(x)):
        xhat = (x[j] - s) * root - left
        e = zero if relu and xhat * gain[j] + bias[j] <= zero else dy[j]
        dbias[j] += e
        dgain[j] += e * xhat
        s0 += e * gain[j]
        s1 += e * gain[j] * xhat
    return s0, s1


@loop
def segment_dx(x, dy, out, s, root, left, gain, bias, slope, level, relu):
    """dx = root * gain * dy + slope * xhat + level, dy through the ReLU."""
    zero = x.dtype.type(0)
    for j in range(len(x)):
        xhat = (x[j] - s) * root - left
        e = zero if relu and xhat * gain[j] + bias[j] <= zero else dy[j]
        out[j] = root * gain[j] * e + slope * xhat + level


@loop
def forward(x, y, w, blocks, given):
    """Statistics and map, image by image."""
    groups, run, length = w.C // w.size, w.size * w.P, w.C * w.P
    tiles = np.empty((2, length), x.dtype)
    gains(w, given, tiles)
    for n in range(w.n0, w.n1):
        image_blocks(x, w, blocks, n, n + 1)
        finish(x, w, n, n + 1, split_blocks(blocks, n * groups, (n + 1) * groups))
        for g in range(groups):
            k = n * groups + g
            piece, own = slice(k * run, (k + 1) * run), slice(g * run, (g + 1) * run)
            root, left = blocks.R[k], blocks.E[k] * blocks.R[k]
            segment_affine(
                x[piece], y[piece], blocks.M[k], root, left, tiles[0][own], tiles[1][own], w.relu
            )


@loop
def backward(x, dy, out, w, blocks, given, gradients):
    """Sums and dx, block by block."""
    number = x.dtype.type
    groups, run, length = w.C // w.size, w.size * w.P, w.C * w.P
    tiles = np.empty((4, length), x.dtype)
    gains(w, given, tiles)
    tiles[2:] = 0
    for n in range(w.n0, w.n1):
        for g in range(groups):
            k = n * groups + g
            piece, own = slice(k * run, (k + 1) * run), slice(g * run, (g + 1) * run)
            gain, bias = tiles[0][own], tiles[1][own]
            s, root, left = blocks.M[k], blocks.R[k], blocks.E[k] * blocks.R[k]
            s0, s1 = segment_sums(
                x[piece], dy[piece], s, root, left, gain, bias, tiles[2][own], tiles[3][own], w.relu
            )
            slope, level = -root * (s1 / number(run)), -root * (s0 / number(run))
            segment_dx(
                x[piece], dy[piece], out[piece], s, root, left, gain, bias, slope, level, w.relu
            )
    width, copies = columns(w)
    fold_sums(tiles[2], tiles[3], w.C, width, copies, gradients.weight, gradients.bias)
