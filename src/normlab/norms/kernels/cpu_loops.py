"""The loops of the CPU backend, compiled by Numba when first used; see `normlab.norms.kernels.cpu`.

x and y are maps of (N, C, H, W) with P = H * W pixels, given by the address of their first value; a
row r is one (n, c). Factors and statistics are arrays over rows. Contiguous maps hold a row's pixels
side by side ("nchw"); channels_last maps hold a pixel's channels side by side ("nhwc"), where loops
run over blocks of several pixels with the factors tiled to match: so they are long when C is small.

Every function works on images n0 to n1, so that threads can share the work; a row's sums are made by
one thread in one order, so the result does not depend on how many there are.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np
from numba import carray, njit

# Sums may be reordered to use vector units; NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
_TILE = 64


@njit(inline="always")
def _tile_pixels(C, P):
    return min(max(1, _TILE // C), P)


@njit(inline="always")
def _tile(source, start, C, pixels, out):
    for p in range(pixels):
        for c in range(C):
            out[p * C + c] = source[start + c]


def moments_nchw(x_, mean_, var_, C, P, n0, n1):
    """Mean and biased variance of each row, in two passes while the row is in cache."""
    x, mean, var = carray(x_, n1 * C * P), carray(mean_, n1 * C), carray(var_, n1 * C)
    zero = x.dtype.type(0)
    for r in range(n0 * C, n1 * C):
        row = x[r * P : (r + 1) * P]
        total = zero
        for p in range(P):
            total += row[p]
        center = total / P
        square = zero
        rest = zero
        for p in range(P):
            d = row[p] - center
            rest += d
            square += d * d
        # What the rounding of the first mean left over: it matters where mean >> deviation.
        rest /= P
        mean[r] = center + rest
        var[r] = max(square / P - rest * rest, zero)


def affine_nchw(x_, center_, scale_, shift_, y_, C, P, step, relu, n0, n1):
    """y = scale * (x - center) + shift, then ReLU; step is C for factors per row, 0 per channel."""
    x, y = carray(x_, n1 * C * P), carray(y_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    zero = x.dtype.type(0)
    for n in range(n0, n1):
        for c in range(C):
            r, f = n * C + c, n * step + c
            s, a, b = center[f], scale[f], shift[f]
            row, out = x[r * P : (r + 1) * P], y[r * P : (r + 1) * P]
            if relu:
                for p in range(P):
                    v = (row[p] - s) * a + b
                    out[p] = zero if v <= zero else v
            else:
                for p in range(P):
                    out[p] = (row[p] - s) * a + b


def sums_nchw(x_, dy_, center_, scale_, shift_, d0_, d1_, C, P, step, relu, n0, n1):
    """Sums of dy and of dy * (x - center) of each row, dy taken through the ReLU."""
    x, dy = carray(x_, n1 * C * P), carray(dy_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    d0, d1 = carray(d0_, n1 * C), carray(d1_, n1 * C)
    zero = x.dtype.type(0)
    for n in range(n0, n1):
        for c in range(C):
            r, f = n * C + c, n * step + c
            s, a, b = center[f], scale[f], shift[f]
            row, grad = x[r * P : (r + 1) * P], dy[r * P : (r + 1) * P]
            s0, s1 = zero, zero
            if relu:
                for p in range(P):
                    t = row[p] - s
                    e = zero if t * a + b <= zero else grad[p]
                    s0 += e
                    s1 += e * t
            else:
                for p in range(P):
                    s0 += grad[p]
                    s1 += grad[p] * (row[p] - s)
            d0[r] = s0
            d1[r] = s1


def dx_nchw(x_, dy_, center_, scale_, shift_, A_, B_, C_, out_, C, P, step, relu, n0, n1):
    """dx = A * dy + B * (x - center) + C, dy taken through the ReLU; A, B, C as the factors."""
    x, dy, out = carray(x_, n1 * C * P), carray(dy_, n1 * C * P), carray(out_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    fa, fb, fc = carray(A_, count), carray(B_, count), carray(C_, count)
    zero = x.dtype.type(0)
    for n in range(n0, n1):
        for c in range(C):
            r, f = n * C + c, n * step + c
            s, a, b, ga, gb, gc = center[f], scale[f], shift[f], fa[f], fb[f], fc[f]
            row, grad = x[r * P : (r + 1) * P], dy[r * P : (r + 1) * P]
            to = out[r * P : (r + 1) * P]
            if relu:
                for p in range(P):
                    t = row[p] - s
                    e = zero if t * a + b <= zero else grad[p]
                    to[p] = ga * e + gb * t + gc
            else:
                for p in range(P):
                    to[p] = ga * grad[p] + gb * (row[p] - s) + gc


def moments_nhwc(x_, mean_, var_, C, P, n0, n1):
    """As `moments_nchw`, for channels_last maps."""
    x, mean, var = carray(x_, n1 * C * P), carray(mean_, n1 * C), carray(var_, n1 * C)
    k = _tile_pixels(C, P)
    L = k * C
    blocks = P // k
    buffers = np.empty((4, L), x.dtype)
    total, square, rest, tiled = buffers[0], buffers[1], buffers[2], buffers[3]
    for n in range(n0, n1):
        image = x[n * C * P : (n + 1) * C * P]
        total[:] = 0
        for i in range(blocks):
            block = image[i * L : (i + 1) * L]
            for j in range(L):
                total[j] += block[j]
        for j in range(blocks * L, P * C):
            total[j - blocks * L] += image[j]
        for c in range(C):
            for p in range(1, k):
                total[c] += total[p * C + c]
            total[c] /= P
        _tile(total, 0, C, k, tiled)
        square[:] = 0
        rest[:] = 0
        for i in range(blocks):
            block = image[i * L : (i + 1) * L]
            for j in range(L):
                d = block[j] - tiled[j]
                rest[j] += d
                square[j] += d * d
        for j in range(blocks * L, P * C):
            d = image[j] - tiled[j - blocks * L]
            rest[j - blocks * L] += d
            square[j - blocks * L] += d * d
        for c in range(C):
            for p in range(1, k):
                rest[c] += rest[p * C + c]
                square[c] += square[p * C + c]
            left = rest[c] / P
            mean[n * C + c] = tiled[c] + left
            var[n * C + c] = max(square[c] / P - left * left, x.dtype.type(0))


def affine_nhwc(x_, center_, scale_, shift_, y_, C, P, step, relu, n0, n1):
    """As `affine_nchw`, for channels_last maps."""
    x, y = carray(x_, n1 * C * P), carray(y_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    zero = x.dtype.type(0)
    k = _tile_pixels(C, P)
    L = k * C
    buffers = np.empty((3, L), x.dtype)
    s, a, b = buffers[0], buffers[1], buffers[2]
    for n in range(n0, n1):
        if step or n == n0:
            _tile(center, n * step, C, k, s)
            _tile(scale, n * step, C, k, a)
            _tile(shift, n * step, C, k, b)
        image, out = x[n * C * P : (n + 1) * C * P], y[n * C * P : (n + 1) * C * P]
        for first in range(0, P * C, L):
            length = min(L, P * C - first)
            block, to = image[first : first + length], out[first : first + length]
            if relu:
                for j in range(length):
                    v = (block[j] - s[j]) * a[j] + b[j]
                    to[j] = zero if v <= zero else v
            else:
                for j in range(length):
                    to[j] = (block[j] - s[j]) * a[j] + b[j]


def sums_nhwc(x_, dy_, center_, scale_, shift_, d0_, d1_, C, P, step, relu, n0, n1):
    """As `sums_nchw`, for channels_last maps."""
    x, dy = carray(x_, n1 * C * P), carray(dy_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    d0, d1 = carray(d0_, n1 * C), carray(d1_, n1 * C)
    zero = x.dtype.type(0)
    k = _tile_pixels(C, P)
    L = k * C
    buffers = np.empty((5, L), x.dtype)
    s, a, b, s0, s1 = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    for n in range(n0, n1):
        if step or n == n0:
            _tile(center, n * step, C, k, s)
            _tile(scale, n * step, C, k, a)
            _tile(shift, n * step, C, k, b)
        s0[:] = 0
        s1[:] = 0
        image, grads = x[n * C * P : (n + 1) * C * P], dy[n * C * P : (n + 1) * C * P]
        for first in range(0, P * C, L):
            length = min(L, P * C - first)
            block, grad = image[first : first + length], grads[first : first + length]
            if relu:
                for j in range(length):
                    t = block[j] - s[j]
                    e = zero if t * a[j] + b[j] <= zero else grad[j]
                    s0[j] += e
                    s1[j] += e * t
            else:
                for j in range(length):
                    s0[j] += grad[j]
                    s1[j] += grad[j] * (block[j] - s[j])
        for c in range(C):
            for p in range(1, k):
                s0[c] += s0[p * C + c]
                s1[c] += s1[p * C + c]
            d0[n * C + c] = s0[c]
            d1[n * C + c] = s1[c]


def dx_nhwc(x_, dy_, center_, scale_, shift_, A_, B_, C_, out_, C, P, step, relu, n0, n1):
    """As `dx_nchw`, for channels_last maps."""
    x, dy, out = carray(x_, n1 * C * P), carray(dy_, n1 * C * P), carray(out_, n1 * C * P)
    count = n1 * C if step else C
    center, scale, shift = carray(center_, count), carray(scale_, count), carray(shift_, count)
    fa, fb, fc = carray(A_, count), carray(B_, count), carray(C_, count)
    zero = x.dtype.type(0)
    k = _tile_pixels(C, P)
    L = k * C
    buffers = np.empty((6, L), x.dtype)
    s, a, b, ga, gb, gc = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5]
    for n in range(n0, n1):
        if step or n == n0:
            _tile(center, n * step, C, k, s)
            _tile(scale, n * step, C, k, a)
            _tile(shift, n * step, C, k, b)
            _tile(fa, n * step, C, k, ga)
            _tile(fb, n * step, C, k, gb)
            _tile(fc, n * step, C, k, gc)
        image, grads = x[n * C * P : (n + 1) * C * P], dy[n * C * P : (n + 1) * C * P]
        target = out[n * C * P : (n + 1) * C * P]
        for first in range(0, P * C, L):
            length = min(L, P * C - first)
            block, grad = image[first : first + length], grads[first : first + length]
            to = target[first : first + length]
            if relu:
                for j in range(length):
                    t = block[j] - s[j]
                    e = zero if t * a[j] + b[j] <= zero else grad[j]
                    to[j] = ga[j] * e + gb[j] * t + gc[j]
            else:
                for j in range(length):
                    to[j] = ga[j] * grad[j] + gb[j] * (block[j] - s[j]) + gc[j]


def pooled_forward(
    mean_, var_, starts_, weight_, bias_, gate_, M_, V_, scale_, shift_,
    N, C, P, splits, size, affine, gated, eps,
):  # fmt: skip
    """Statistics of every block and from them the factors of every row.

    A block is one of `splits` runs of images (from starts[i] to starts[i + 1]) by `size`
    consecutive channels. With a gate, the result is gate * this + (1 - gate) * instance norm.
    """
    R = N * C
    mean, var = carray(mean_, R), carray(var_, R)
    scale, shift = carray(scale_, R), carray(shift_, R)
    starts = carray(starts_, splits + 1)
    groups = C // size
    M, V = carray(M_, splits * groups), carray(V_, splits * groups)
    weight, bias, gate = carray(weight_, C), carray(bias_, C), carray(gate_, C)
    one, zero = mean.dtype.type(1), mean.dtype.type(0)
    for i in range(splits):
        first, last = starts[i], starts[i + 1]
        rows = (last - first) * size
        for g in range(groups):
            total = zero
            for n in range(first, last):
                for c in range(g * size, (g + 1) * size):
                    total += mean[n * C + c]
            center = total / rows
            rest, between, within = zero, zero, zero
            for n in range(first, last):
                for c in range(g * size, (g + 1) * size):
                    d = mean[n * C + c] - center
                    rest += d
                    between += d * d
                    within += var[n * C + c]
            rest /= rows
            center += rest
            block = (within + between) / rows - rest * rest
            M[i * groups + g] = center
            V[i * groups + g] = block
            root = one / np.sqrt(block + eps)
            for n in range(first, last):
                for c in range(g * size, (g + 1) * size):
                    r = n * C + c
                    a, b = root, (mean[r] - center) * root
                    if gated:
                        rho = gate[c]
                        a = rho * a + (one - rho) / np.sqrt(var[r] + eps)
                        b = rho * b
                    if affine:
                        a = a * weight[c]
                        b = b * weight[c] + bias[c]
                    scale[r] = a
                    shift[r] = b


def pooled_backward(
    d0_, d1_, mean_, var_, starts_, weight_, gate_, M_, V_, scale_,
    A_, B_, C_, dweight_, dbias_, dgate_,
    N, C, P, splits, size, affine, gated, eps,
):  # fmt: skip
    """Gradients of gain, bias and gate, and the factors of dx = A * dy + B * (x - mean) + C.

    With xhat = (x - M) * root over a block of K values and e = gain * dy:
    dx = root * (e - mean(e) - xhat * mean(e * xhat)), and (x - M) = (x - mean) + (mean - M).
    """
    R = N * C
    d0, d1, mean, var = carray(d0_, R), carray(d1_, R), carray(mean_, R), carray(var_, R)
    scale, A, B, F = carray(scale_, R), carray(A_, R), carray(B_, R), carray(C_, R)
    starts = carray(starts_, splits + 1)
    groups = C // size
    M, V = carray(M_, splits * groups), carray(V_, splits * groups)
    weight, gate = carray(weight_, C), carray(gate_, C)
    dweight, dbias, dgate = carray(dweight_, C), carray(dbias_, C), carray(dgate_, C)
    one, zero = mean.dtype.type(1), mean.dtype.type(0)
    dweight[:] = zero
    dbias[:] = zero
    dgate[:] = zero
    for i in range(splits):
        first, last = starts[i], starts[i + 1]
        count = (last - first) * size * P
        for g in range(groups):
            center = M[i * groups + g]
            root = one / np.sqrt(V[i * groups + g] + eps)
            s0, s1 = zero, zero
            for n in range(first, last):
                for c in range(g * size, (g + 1) * size):
                    r = n * C + c
                    gain = weight[c] if affine else one
                    share = gain * gate[c] if gated else gain
                    dot = d1[r] + (mean[r] - center) * d0[r]  # sum of dy * (x - M)
                    s0 += share * d0[r]
                    s1 += share * dot
                    dbias[c] += d0[r]
                    if gated:
                        own = one / np.sqrt(var[r] + eps)
                        dweight[c] += gate[c] * root * dot + (one - gate[c]) * own * d1[r]
                        dgate[c] += gain * (root * dot - own * d1[r])
                    else:
                        dweight[c] += root * dot
            slope = -root * root * root * s1 / count
            level = -root * s0 / count
            for n in range(first, last):
                for c in range(g * size, (g + 1) * size):
                    r = n * C + c
                    A[r] = scale[r]
                    B[r] = slope
                    F[r] = level + slope * (mean[r] - center)
                    if gated:
                        gain = weight[c] if affine else one
                        own = one / np.sqrt(var[r] + eps)
                        rest = gain * (one - gate[c])
                        B[r] -= own * own * own * rest * d1[r] / P
                        F[r] -= own * rest * d0[r] / P
