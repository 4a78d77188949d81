"""Loops over a matrix of rows of L values, in which column j always holds the same channel.

A row is one image of few pixels (nchw: L = C * P) or one pixel (nhwc: L = C), or several of them
where these are shorter than `LEAST`; the last row may be short. Factors stand in arrays of L beside
the row.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import number_of
from normlab.norms.kernels.loops.compiled import inlined, loop, ordered, where

LEAST = 256
"""Values in a row, at least: below, loops are all beginning and end."""
SINGLE = 64
"""The same where every image has statistics of its own, and more is spent on what a row needs."""
CACHED = 1 << 13
"""Values of a map that stay in a core's cache from one loop over them to the next."""
BESIDE = 1 << 9
"""Columns taken at a time, so that what is kept of them stays in the first cache."""


@inlined
def four_rows(x, at, L, j0, j1):
    """Columns j0 to j1 of four rows, the first of which begins at `at`, the next ones L after."""
    return (
        x[at + j0 : at + j1],
        x[at + L + j0 : at + L + j1],
        x[at + 2 * L + j0 : at + 2 * L + j1],
        x[at + 3 * L + j0 : at + 3 * L + j1],
    )


@ordered
def column_sums(x, L, first, last, j0, j1, total):
    """Sums over rows first to last of columns j0 to j1."""
    number = number_of(x)
    fours = first + (last - first) // 4 * 4
    for j in range(j1 - j0):
        total[j] = number(0)
    for i in range(first, fours, 4):
        r0, r1, r2, r3 = four_rows(x, i * L, L, j0, j1)
        for j in range(j1 - j0):
            total[j] += (r0[j] + r1[j]) + (r2[j] + r3[j])
    for i in range(fours, last):
        row = x[i * L + j0 : i * L + j1]
        for j in range(j1 - j0):
            total[j] += row[j]


@ordered
def column_deviations(x, L, first, last, j0, j1, center, left, square):
    """Sums of deviations from `center`, and of their squares; as `column_sums`."""
    number = number_of(x)
    fours = first + (last - first) // 4 * 4
    for j in range(j1 - j0):
        left[j] = number(0)
        square[j] = number(0)
    for i in range(first, fours, 4):
        r0, r1, r2, r3 = four_rows(x, i * L, L, j0, j1)
        for j in range(j1 - j0):
            e0, e1, e2, e3 = (
                r0[j] - center[j],
                r1[j] - center[j],
                r2[j] - center[j],
                r3[j] - center[j],
            )
            left[j] += (e0 + e1) + (e2 + e3)
            square[j] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
    for i in range(fours, last):
        row = x[i * L + j0 : i * L + j1]
        for j in range(j1 - j0):
            d = row[j] - center[j]
            left[j] += d
            square[j] += d * d


@ordered
def short_row(x, L):
    """The values behind the last whole row."""
    return x[len(x) // L * L :]


@ordered
def channel_centers(x, L, C, size, total, center):
    """A number near the mean of each run of `size` channels, for each of L columns.

    The columns are `L // C` times all channels of channels_last maps.
    """
    number = number_of(x)
    column_sums(x, L, 0, len(x) // L, 0, L, total)
    rest = short_row(x, L)
    for j in range(len(rest)):
        total[j] += rest[j]
    for j in range(C, L, C):
        part = total[j : j + C]
        for c in range(C):
            total[c] += part[c]
    share = number(1.0 / (len(x) // C * size))
    for g in range(C // size):
        mean = number(0)
        for c in range(g * size, (g + 1) * size):
            mean += total[c] * share
        for c in range(g * size, (g + 1) * size):
            center[c] = mean
    for j in range(C, L, C):
        part = center[j : j + C]
        for c in range(C):
            part[c] = center[c]


@ordered
def channel_moments(x, L, C, size, total, center, left, square, M, E, V):
    """Mean M + E and biased variance V of runs of channels; four arrays of L for scratch."""
    number = number_of(x)
    channel_centers(x, L, C, size, total, center)
    column_deviations(x, L, 0, len(x) // L, 0, L, center, left, square)
    rest = short_row(x, L)
    for j in range(len(rest)):
        d = rest[j] - center[j]
        left[j] += d
        square[j] += d * d
    for j in range(C, L, C):
        more, squares = left[j : j + C], square[j : j + C]
        for c in range(C):
            left[c] += more[c]
            square[c] += squares[c]
    count = number(len(x) // C * size)
    for g in range(C // size):
        part, squares = number(0), number(0)
        for c in range(g * size, (g + 1) * size):
            part += left[c]
            squares += square[c]
        part /= count
        M[g] = center[g * size]
        E[g] = part
        V[g] = max(squares - count * part * part, number(0)) / count


@ordered
def piece_moments(x, L, K, D, Q, add, left, square):
    """Moments of each of L columns: mean K + D, and the squares' sum Q about it.

    Pieces of rows stay in cache for the second pass over them; the next piece's moments join those
    so far as in Chan, Golub & LeVeque 1979. The last row may be short. The last three arguments are
    scratch of L values each.
    """
    number = number_of(x)
    rows = len(x) // L
    tail = len(x) - rows * L
    for j0 in range(0, L, BESIDE):
        j1 = min(j0 + BESIDE, L)
        some, kk, dd, qq = j1 - j0, K[j0:j1], D[j0:j1], Q[j0:j1]
        aa, ll, ss = add[j0:j1], left[j0:j1], square[j0:j1]
        step = max(4, CACHED // some)
        for first in range(0, rows, step):
            last = min(first + step, rows)
            count = number(last - first)
            column_sums(x, L, first, last, j0, j1, aa)
            for j in range(some):
                aa[j] /= count
            column_deviations(x, L, first, last, j0, j1, aa, ll, ss)
            if first == 0:
                for j in range(some):
                    d = ll[j] / count
                    kk[j] = aa[j]
                    dd[j] = d
                    qq[j] = ss[j] - ll[j] * d
            else:
                share, weight = count / number(last), number(first) * count / number(last)
                for j in range(some):
                    d = ll[j] / count
                    delta = (aa[j] - kk[j]) + d - dd[j]
                    dd[j] += delta * share
                    qq[j] += ss[j] - ll[j] * d + delta * delta * weight
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


@ordered
def piece_affine(x, y, s, a, b, L, relu):
    """y = a * (x - s) + b by columns, then ReLU."""
    zero = number_of(x)(0)
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


@ordered
def piece_sums(x, dy, s, a, b, d0, d1, p0, p1, L, relu):
    """Add the sums of dy and of dy * (x - s) of each column to d0 and d1; p0 and p1 are scratch."""
    if relu:
        piece_sums_of(x, dy, s, a, b, d0, d1, p0, p1, L, True)
    else:
        piece_sums_of(x, dy, s, a, b, d0, d1, p0, p1, L, False)


@ordered
def piece_sums_of(x, dy, s, a, b, d0, d1, p0, p1, L, relu):
    """`piece_sums`, compiled once with ReLU and once without.

    The four rows that are taken at a time lie a quarter of the piece apart: each quarter is read
    from its beginning to its end, which a processor sees coming where it would not see four rows
    that follow each other.
    """
    zero = number_of(x)(0)
    rows = len(x) // L
    quarter = rows // 4
    for j0 in range(0, L, BESIDE):
        j1 = min(j0 + BESIDE, L)
        some, t0, t1 = j1 - j0, p0[j0:j1], p1[j0:j1]
        ss, aa, bb = s[j0:j1], a[j0:j1], b[j0:j1]
        step = max(1, CACHED // some // 4)
        for start in range(0, quarter, step):
            for j in range(some):
                t0[j] = zero
                t1[j] = zero
            for i in range(start, min(start + step, quarter)):
                x0, x1, x2, x3 = four_rows(x, i * L, quarter * L, j0, j1)
                g0, g1, g2, g3 = four_rows(dy, i * L, quarter * L, j0, j1)
                for j in range(some):
                    u0, u1, u2, u3 = x0[j] - ss[j], x1[j] - ss[j], x2[j] - ss[j], x3[j] - ss[j]
                    o0 = relu and u0 * aa[j] + bb[j] <= zero
                    o1 = relu and u1 * aa[j] + bb[j] <= zero
                    o2 = relu and u2 * aa[j] + bb[j] <= zero
                    o3 = relu and u3 * aa[j] + bb[j] <= zero
                    e0, f0 = where(o0, zero, g0[j]), where(o0, zero, g0[j] * u0)
                    e1, f1 = where(o1, zero, g1[j]), where(o1, zero, g1[j] * u1)
                    e2, f2 = where(o2, zero, g2[j]), where(o2, zero, g2[j] * u2)
                    e3, f3 = where(o3, zero, g3[j]), where(o3, zero, g3[j] * u3)
                    t0[j] += (e0 + e1) + (e2 + e3)
                    t1[j] += (f0 + f1) + (f2 + f3)
            for j in range(some):
                d0[j0 + j] += t0[j]
                d1[j0 + j] += t1[j]
    # What is left: up to three rows and the short one.
    for first in range(4 * quarter * L, len(x), L):
        row, grad = x[first : first + L], dy[first : first + L]
        for j in range(len(row)):
            t = row[j] - s[j]
            off = relu and t * a[j] + b[j] <= zero
            d0[j] += where(off, zero, grad[j])
            d1[j] += where(off, zero, grad[j] * t)


@ordered
def piece_dx(x, dy, to, s, a, b, fa, root, fb, fc, L, relu):
    """As `row_dx`, with factors by columns."""
    zero = number_of(x)(0)
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
                    rest = gb[j] * (t * gr[j]) + gc[j]
                    out[j] = where(t * aa[j] + bb[j] <= zero, rest, ga[j] * grad[j] + rest)
            else:
                for j in range(length):
                    t = row[j] - ss[j]
                    out[j] = ga[j] * grad[j] + gb[j] * (t * gr[j]) + gc[j]


@inlined
def columns_of(C, P, nhwc, each_image):
    """Columns that a channel has side by side, and how often all channels are repeated in a row.

    A row may hold several images, but not where `each_image` is a split of its own.
    """
    width = 1 if nhwc else P
    copies = max(1, (SINGLE if each_image else LEAST) // (C * width))
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
