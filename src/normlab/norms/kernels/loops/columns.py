"""Loops over a matrix of rows of L values, in which column j always holds the same channel.

A row is one image of few pixels (nchw: L = C * P) or one pixel (nhwc: L = C), or several of them
where these are shorter than `LEAST`; the last row may be short. Factors stand in arrays of L beside
the row.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.compiled import inlined, loop

LEAST = 64
"""Values in a row, at least: below, loops are all beginning and end."""
CACHED = 1 << 13
"""Values of a map that stay in a core's cache from one loop over them to the next."""
BESIDE = 1 << 11
"""Columns taken at a time, so that their factors stay in the first cache."""


@loop
def piece_moments(x, L, K, D, Q, add, left, square):
    """Moments of each of L columns: mean K + D, and the squares' sum Q about it.

    Pieces of rows stay in cache for the second pass over them; the next piece's moments join those
    so far as in Chan, Golub & LeVeque 1979. The last row may be short. The last three arguments are
    scratch of L values each.
    """
    number = x.dtype.type
    rows = len(x) // L
    tail = len(x) - rows * L
    step, one = max(1, CACHED // L), number(min(L, 1))  # as in `row_moments`
    for first in range(0, rows, step):
        last = min(first + step, rows)
        count = number(last - first)
        for j in range(L):
            add[j] = number(0)
        for i in range(first, last):
            row = x[i * L : (i + 1) * L]
            for j in range(L):
                add[j] += row[j]
        for j in range(L):
            add[j] /= count
            left[j] = number(0)
            square[j] = number(0)
        for i in range(first, last):
            row = x[i * L : (i + 1) * L]
            for j in range(L):
                d = row[j] - add[j]
                left[j] += d * one
                square[j] += d * d
        if first == 0:
            for j in range(L):
                d = left[j] / count
                K[j] = add[j]
                D[j] = d
                Q[j] = square[j] - left[j] * d
        else:
            share, weight = count / number(last), number(first) * count / number(last)
            for j in range(L):
                d = left[j] / count
                delta = (add[j] - K[j]) + d - D[j]
                D[j] += delta * share
                Q[j] += square[j] - left[j] * d + delta * delta * weight
    if rows == 0:
        for j in range(L):
            K[j] = x[j] if j < tail else number(0)
            D[j] = number(0)
            Q[j] = number(0)
    elif tail:
        row = x[rows * L :]
        share, weight = number(1) / number(rows + 1), number(rows) / number(rows + 1)
        for j in range(tail):
            delta = (row[j] - K[j]) - D[j]
            D[j] += delta * share
            Q[j] += delta * delta * weight


@loop
def join_moments(n, m, L, tail_n, tail_m, K, D, Q, K2, D2, Q2):
    """Take the moments of m more rows (and a short one) into those of n rows, column by column."""
    number = K.dtype.type
    for j in range(L):
        a, b = number(n + (j < tail_n)), number(m + (j < tail_m))
        if b > number(0):
            delta = (K2[j] - K[j]) + (D2[j] - D[j])
            D[j] += delta * (b / (a + b))
            Q[j] += Q2[j] + delta * delta * (a * b / (a + b))


@loop
def piece_affine(x, y, s, a, b, L, relu):
    """y = a * (x - s) + b by columns, then ReLU."""
    zero = x.dtype.type(0)
    for j0 in range(0, L, BESIDE):
        j1 = min(j0 + BESIDE, L)
        ss, aa, bb = s[j0:j1], a[j0:j1], b[j0:j1]
        for first in range(0, len(x), L):
            length = min(j1, len(x) - first) - j0
            if length <= 0:
                break
            row, out = x[first + j0 : first + j0 + length], y[first + j0 : first + j0 + length]
            if relu:
                for j in range(length):
                    v = (row[j] - ss[j]) * aa[j] + bb[j]
                    out[j] = zero if v <= zero else v
            else:
                for j in range(length):
                    out[j] = (row[j] - ss[j]) * aa[j] + bb[j]


@loop
def piece_sums(x, dy, s, a, b, d0, d1, p0, p1, L, relu):
    """Add the sums of dy and of dy * (x - s) of each column to d0 and d1; p0 and p1 are scratch."""
    number = x.dtype.type
    zero = number(0)
    step = max(1, CACHED // L) * L
    for start in range(0, len(x), step):
        stop = min(start + step, len(x))
        for j0 in range(0, L, BESIDE):
            j1 = min(j0 + BESIDE, L)
            t0, t1 = p0[j0:j1], p1[j0:j1]
            ss, aa, bb = s[j0:j1], a[j0:j1], b[j0:j1]
            for j in range(j1 - j0):
                t0[j] = zero
                t1[j] = zero
            for first in range(start, stop, L):
                length = min(j1, stop - first) - j0
                if length <= 0:
                    break
                row, grad = (
                    x[first + j0 : first + j0 + length],
                    dy[first + j0 : first + j0 + length],
                )
                if relu:
                    for j in range(length):
                        t = row[j] - ss[j]
                        e = zero if t * aa[j] + bb[j] <= zero else grad[j]
                        t0[j] += e
                        t1[j] += e * t
                else:
                    for j in range(length):
                        t0[j] += grad[j]
                        t1[j] += grad[j] * (row[j] - ss[j])
            for j in range(j1 - j0):
                d0[j0 + j] += t0[j]
                d1[j0 + j] += t1[j]


@loop
def piece_dx(x, dy, to, s, a, b, fa, root, fb, fc, L, relu):
    """As `row_dx`, with factors by columns."""
    zero, nil = x.dtype.type(0), x.dtype.type(min(L, 0))  # as in `row_dx`
    for j0 in range(0, L, BESIDE):
        j1 = min(j0 + BESIDE, L)
        ss, aa, bb = s[j0:j1], a[j0:j1], b[j0:j1]
        ga, gr, gb, gc = fa[j0:j1], root[j0:j1], fb[j0:j1], fc[j0:j1]
        for first in range(0, len(x), L):
            length = min(j1, len(x) - first) - j0
            if length <= 0:
                break
            row, grad = x[first + j0 : first + j0 + length], dy[first + j0 : first + j0 + length]
            out = to[first + j0 : first + j0 + length]
            if relu:
                for j in range(length):
                    t = row[j] - ss[j]
                    e = zero if t * aa[j] + bb[j] <= zero else grad[j]
                    out[j] = ga[j] * e + gb[j] * (t * gr[j] + nil) + gc[j]
            else:
                for j in range(length):
                    t = row[j] - ss[j]
                    out[j] = ga[j] * grad[j] + gb[j] * (t * gr[j] + nil) + gc[j]


@inlined
def columns_of(C, P, nhwc, each_image):
    """Columns that a channel has side by side, and how often all channels are repeated in a row.

    A row may hold several images, but not where `each_image` is a split of its own.
    """
    width = 1 if nhwc else P
    copies = max(1, LEAST // (C * width))
    return width, min(copies, P if nhwc else 1) if each_image else copies


@loop
def fold_copies(K, D, Q, rows, tail, C, copies):
    """Take the moments of all copies of channels into those of the first; returns their count."""
    number = K.dtype.type
    done = rows + (tail > 0)
    for k in range(1, copies):
        more = rows + (k * C < tail)
        if more:
            share = number(more) / number(done + more)
            weight = number(done) * share
            for c in range(C):
                delta = (K[k * C + c] - K[c]) + (D[k * C + c] - D[c])
                D[c] += delta * share
                Q[c] += Q[k * C + c] + delta * delta * weight
            done += more
    return done


@loop
def fold_moments(K, D, Q, rows, tail, C, width, copies, size, M, E, V):
    """From the moments of columns to those of blocks of `size` channels.

    Args:
        K, D, Q: As `piece_moments` makes them; the copies are changed.
        rows, tail: Values in each column, and how many columns have one more.
        C, width, copies: Of the columns: see `columns_of`.
        size: Channels in a block.
        M, E, V: The blocks', written.
    """
    number = K.dtype.type
    if width == 1:
        count = fold_copies(K, D, Q, rows, tail, C, copies)
        if size == 1:
            for c in range(C):
                M[c] = K[c] + D[c]
                E[c] = (K[c] - M[c]) + D[c]
                V[c] = Q[c] / number(count)
        else:
            fold_run(K, D, Q, count, 0, C, C, 1, size, M, E, V)
    else:
        fold_run(K, D, Q, rows, tail, C, C * width, copies, size * width, M, E, V)


@loop
def fold_run(K, D, Q, rows, tail, C, base, copies, run, M, E, V):
    """As `fold_moments`, for blocks of runs of columns, repeated every `base`."""
    number = K.dtype.type
    for g in range(base // run):
        near = K[g * run]
        total, count = 0.0, 0.0
        for k in range(copies):
            for j in range(k * base + g * run, k * base + (g + 1) * run):
                n = np.float64(rows + (j < tail))
                total += n * (np.float64(K[j] - near) + D[j])
                count += n
        mean, square = total / count, 0.0
        for k in range(copies):
            for j in range(k * base + g * run, k * base + (g + 1) * run):
                d = (np.float64(K[j] - near) + D[j]) - mean
                square += Q[j] + np.float64(rows + (j < tail)) * d * d
        M[g] = number(near + mean)
        E[g] = number((np.float64(near) - np.float64(M[g])) + mean)
        V[g] = number(square / count)


@loop
def fold_sums(d0, d1, C, width, copies, into0, into1):
    """Add the columns of each channel to what it has."""
    if width == 1:
        for k in range(copies):
            for c in range(C):
                into0[c] += d0[k * C + c]
                into1[c] += d1[k * C + c]
    else:
        for k in range(copies):
            for c in range(C):
                t0, t1 = 0.0, 0.0
                for j in range((k * C + c) * width, (k * C + c + 1) * width):
                    t0 += d0[j]
                    t1 += d1[j]
                into0[c] += t0
                into1[c] += t1


@loop
def tile(values, C, width, copies, out):
    """Give each column the value of its channel."""
    if width == 1:
        for k in range(copies):
            for c in range(C):
                out[k * C + c] = values[c]
    else:
        for k in range(copies):
            for c in range(C):
                for j in range((k * C + c) * width, (k * C + c + 1) * width):
                    out[j] = values[c]
