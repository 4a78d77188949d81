"""Statistics and factors of every (n, c), in float64: the general path, and the gate.

y = scale * (x - mean) + shift, with arrays of (N, C) or, for fixed statistics, of C values.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import number_of, numbers
from normlab.norms.kernels.loops.blocks import LARGE, wide_moments
from normlab.norms.kernels.loops.columns import (
    SINGLE,
    piece_affine,
    piece_dx,
    piece_moments,
    piece_sums,
)
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.rows import row_affine, row_dx, row_moments, row_sums


@inlined
def _image_columns(C, P):
    """Copies of the channels in a row of an image's matrix, nhwc, and values in that row."""
    copies = min(max(1, SINGLE // C), P)
    return copies, C * copies


@inlined
def row_factors(number, mean, scale, shift):
    """Center, scale and shift as numbers; what rounding the mean leaves is in the shift."""
    s = number(mean)
    return s, number(scale), number(shift - scale * (mean - np.float64(s)))


@loop
def tile_factors(mean, scale, shift, C, copies, s, a, b):
    """`row_factors` of each channel, for the columns of nhwc maps."""
    number = s.dtype.type
    for c in range(C):
        s[c], a[c], b[c] = row_factors(number, mean[c], scale[c], shift[c])
    for j in range(C, C * copies):
        s[j], a[j], b[j] = s[j - C], a[j - C], b[j - C]


@loop
def moments_nchw(x, mean, var, C, P, n0, n1):
    """Mean and biased variance of every (n, c)."""
    for r in range(n0 * C, n1 * C):
        center, left, square = row_moments(x[r * P : (r + 1) * P])
        mean[r] = np.float64(center) + np.float64(left)
        var[r] = np.float64(square) / P
    mend_large(0, x, mean, var, C, P, n0, n1)


@loop
def moments_nhwc(x, mean, var, C, P, n0, n1):
    """As `moments_nchw`, for channels_last maps."""
    copies, L = _image_columns(C, P)
    t = numbers((6, L), x)
    K, D, Q = t[0], t[1], t[2]
    for n in range(n0, n1):
        piece_moments(x[n * C * P : (n + 1) * C * P], L, K, D, Q, t[3], t[4], t[5])
        rows = P // copies
        for c in range(C):
            total, near = 0.0, np.float64(K[c])
            for k in range(copies):
                count = rows + (k * C + c < (P - rows * copies) * C)
                total += count * ((np.float64(K[k * C + c]) - near) + D[k * C + c])
            center, square = total / P, 0.0
            for k in range(copies):
                count = rows + (k * C + c < (P - rows * copies) * C)
                d = (np.float64(K[k * C + c]) - near) + D[k * C + c] - center
                square += Q[k * C + c] + count * d * d
            mean[n * C + c] = near + center
            var[n * C + c] = square / P
    mend_large(1, x, mean, var, C, P, n0, n1)


@loop
def mend_large(nhwc, x, mean, var, C, P, n0, n1):
    """Make anew what overflowed on the way."""
    for r in range(n0 * C, n1 * C):
        if var[r] > LARGE:
            n, c = r // C, r % C
            mean[r], var[r] = wide_moments(x, nhwc, C, P, n, n + 1, c, c + 1)


@loop
def moments_of(nhwc, x, mean, var, C, P, n0, n1):
    """Mean and biased variance of every (n, c), in either layout."""
    if nhwc:
        moments_nhwc(x, mean, var, C, P, n0, n1)
    else:
        moments_nchw(x, mean, var, C, P, n0, n1)


@loop
def affine_of(nhwc, x, mean, scale, shift, y, C, P, step, relu, n0, n1):
    """y = scale * (x - mean) + shift, then ReLU; step is C for factors per (n, c), else 0."""
    if nhwc:
        copies, L = _image_columns(C, P)
        t = numbers((3, L), x)
        for n in range(n0, n1):
            f = slice(n * step, n * step + C)
            if step or n == n0:
                tile_factors(mean[f], scale[f], shift[f], C, copies, t[0], t[1], t[2])
            image = slice(n * C * P, (n + 1) * C * P)
            piece_affine(x[image], y[image], t[0], t[1], t[2], L, relu)
    else:
        for n in range(n0, n1):
            for c in range(C):
                r, f = n * C + c, n * step + c
                row = slice(r * P, (r + 1) * P)
                s, a, b = row_factors(number_of(x), mean[f], scale[f], shift[f])
                row_affine(x[row], y[row], s, a, b, relu)


@loop
def sums_of(nhwc, x, dy, mean, scale, shift, d0, d1, C, P, step, relu, n0, n1):
    """Sums over pixels of dy and of dy * (x - mean) of every (n, c), dy through the ReLU."""
    if nhwc:
        copies, L = _image_columns(C, P)
        t = numbers((7, L), x)
        for n in range(n0, n1):
            f = slice(n * step, n * step + C)
            if step or n == n0:
                tile_factors(mean[f], scale[f], shift[f], C, copies, t[0], t[1], t[2])
            t[3:5] = 0
            image = slice(n * C * P, (n + 1) * C * P)
            piece_sums(x[image], dy[image], t[0], t[1], t[2], t[3], t[4], t[5], t[6], L, relu)
            for c in range(C):
                s0, s1 = 0.0, 0.0
                for k in range(copies):
                    s0 += t[3, k * C + c]
                    s1 += t[4, k * C + c]
                d0[n * C + c] = s0
                d1[n * C + c] = s1 - (mean[n * step + c] - np.float64(t[0, c])) * s0
    else:
        for n in range(n0, n1):
            for c in range(C):
                r, f = n * C + c, n * step + c
                row = slice(r * P, (r + 1) * P)
                s, a, b = row_factors(number_of(x), mean[f], scale[f], shift[f])
                s0, s1 = row_sums(x[row], dy[row], s, a, b, relu)
                d0[r] = s0
                d1[r] = s1 - (mean[f] - np.float64(s)) * s0


@inlined
def slope_factors(number, s, mean, var, dmean, dvar, P):
    """dmean / P + 2 * dvar / P * (x - mean) as level + slope * ((x - s) * root)."""
    size = np.sqrt(var) if var > 0.0 else 1.0
    slope = 2.0 * dvar / P
    return (
        number(1.0 / size),
        number(slope * size),
        number(dmean / P + slope * (np.float64(s) - mean)),
    )


@loop
def dx_of(nhwc, x, dy, mean, scale, shift, var, dmean, dvar, out, C, P, step, sloped, relu, n0, n1):
    """dx = scale * dy + dmean / P + 2 * dvar / P * (x - mean), dy through the ReLU.

    Without `sloped` the moments have no gradient. Factors as in `affine_of`.
    """
    number = number_of(x)
    zero = number(0)
    if nhwc:
        copies, L = _image_columns(C, P)
        t = numbers((6, L), x)
        t[3:] = 0
        for n in range(n0, n1):
            f = slice(n * step, n * step + C)
            if step or n == n0:
                tile_factors(mean[f], scale[f], shift[f], C, copies, t[0], t[1], t[2])
            if sloped:
                for c in range(C):
                    r = n * C + c
                    t[3, c], t[4, c], t[5, c] = slope_factors(
                        number, t[0, c], mean[r], var[r], dmean[r], dvar[r], P
                    )
                for j in range(C, L):
                    t[3, j], t[4, j], t[5, j] = t[3, j - C], t[4, j - C], t[5, j - C]
            image = slice(n * C * P, (n + 1) * C * P)
            piece_dx(
                x[image], dy[image], out[image], t[0], t[1], t[2], t[1], t[3], t[4], t[5], L, relu
            )
    else:
        for n in range(n0, n1):
            for c in range(C):
                r, f = n * C + c, n * step + c
                row = slice(r * P, (r + 1) * P)
                s, a, b = row_factors(number, mean[f], scale[f], shift[f])
                root, slope, level = zero, zero, zero
                if sloped:
                    root, slope, level = slope_factors(
                        number, s, mean[r], var[r], dmean[r], dvar[r], P
                    )
                row_dx(x[row], dy[row], out[row], s, a, b, a, root, slope, level, relu)
