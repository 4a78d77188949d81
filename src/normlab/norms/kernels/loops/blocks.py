"""From the moments of blocks to the factors of channels, and back to slopes.

Of a block are kept M, its mean, rounded; E, what the rounding left over; V, its biased variance;
and R, 1 / sqrt(V + eps). Arrays M, E, V and R hold the blocks of one split.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import number_of
from normlab.norms.kernels.loops.compiled import called, loop

LARGE = 1e37
"""A variance above it may have overflowed on the way."""


@called
def wide_moments(x, nhwc, C, P, n0, n1, c0, c1):
    """Mean and variance of images n0 to n1 and channels c0 to c1 in float64: squares overflowed."""
    step_c, step_p = (1, C) if nhwc else (P, 1)
    total = 0.0
    for n in range(n0, n1):
        for c in range(c0, c1):
            for p in range(P):
                total += x[n * C * P + c * step_c + p * step_p]
    count = (n1 - n0) * (c1 - c0) * P
    mean = total / count
    square = 0.0
    for n in range(n0, n1):
        for c in range(c0, c1):
            for p in range(P):
                d = x[n * C * P + c * step_c + p * step_p] - mean
                square += d * d
    return mean, square / count


@loop
def finish(x, w, first, last, b):
    """The roots of one split's blocks, images first to last; anew where the variance overflowed."""
    number = number_of(x)
    eps, one, top = number(w.eps), number(1), number(0)
    for g in range(w.C // w.size):
        b.R[g] = one / np.sqrt(b.V[g] + eps)
        top = max(top, b.V[g])
    if top > LARGE:
        for g in range(w.C // w.size):
            if b.V[g] > LARGE:
                channels = g * w.size, (g + 1) * w.size
                mean, var = wide_moments(x, w.nhwc, w.C, w.P, first, last, channels[0], channels[1])
                b.M[g] = number(mean)
                b.E[g] = number(mean - np.float64(b.M[g]))
                b.V[g] = number(var)
                b.R[g] = number(1.0 / np.sqrt(var + w.eps))


@loop
def channel_factors(w, blocks, given, center, scale, shift):
    """Center, scale and shift of every channel from its block, in one split."""
    zero = center.dtype.type(0)
    if w.size == 1:
        for c in range(w.C):
            center[c] = blocks.M[c]
        if w.affine:
            for c in range(w.C):
                scale[c] = blocks.R[c] * given.weight[c]
                shift[c] = given.bias[c] - blocks.E[c] * scale[c]
        else:
            for c in range(w.C):
                scale[c] = blocks.R[c]
                shift[c] = zero - blocks.E[c] * scale[c]
    else:
        for g in range(w.C // w.size):
            for c in range(g * w.size, (g + 1) * w.size):
                center[c] = blocks.M[g]
                scale[c] = blocks.R[g] * given.weight[c] if w.affine else blocks.R[g]
                level = given.bias[c] if w.affine else zero
                shift[c] = level - blocks.E[g] * scale[c]


@loop
def channel_slopes(d0, d1, w, blocks, given, count, gradients, root, slope, level):
    """What dx needs beside `scale` for every channel; adds to the gradients of gain and bias.

    d0 and d1 are the channels' sums of dy and dy * (x - M) over one split, with `count` values in a
    block. With xhat = (x - M - E) * R and e = gain * dy over a block,
    dx = R * (e - mean(e) - xhat * mean(e * xhat)) = scale * dy + slope * ((x - M) * root) + level.
    """
    number = root.dtype.type
    size = w.size
    for g in range(w.C // size):
        R, E = blocks.R[g], blocks.E[g]
        s0, s1 = 0.0, 0.0
        for c in range(g * size, (g + 1) * size):
            gain = np.float64(given.weight[c]) if w.affine else 1.0
            dot = (d1[c] - E * d0[c]) * R
            gradients.weight[c] += dot
            gradients.bias[c] += d0[c]
            s0 += gain * d0[c]
            s1 += gain * dot
        down = number(-R * (s1 / count))
        flat = number(-R * (s0 / count) - np.float64(down) * (E * R))
        for c in range(g * size, (g + 1) * size):
            root[c] = R
            slope[c] = down
            level[c] = flat


@loop
def update_running(w, blocks, starts, mean, var, batches, momentum, each, plain):
    """Move running statistics towards the blocks', variances unbiased within their block.

    A block is a split of the batch by one channel. They move once for each split, or (not `each`)
    once for all, weighted by their sizes. With `plain` they are the mean over all batches.
    """
    number = mean.dtype.type
    images = starts[w.splits]
    for i in range(w.splits if each else 1):
        batches[0] += 1
        share = number(1.0 / batches[0]) if plain else number(momentum)
        keep = number(1) - share
        for c in range(w.C):
            new_mean, new_var = 0.0, 0.0
            for k in range(i, i + 1 if each else w.splits):
                size = starts[k + 1] - starts[k]
                part, count = 1.0 if each else size / images, size * w.P
                new_mean += part * (np.float64(blocks.M[k * w.C + c]) + blocks.E[k * w.C + c])
                new_var += part * (blocks.V[k * w.C + c] * (count / (count - 1)))
            mean[c] = keep * mean[c] + share * number(new_mean)
            var[c] = keep * var[c] + share * number(new_var)
