"""Loops over one row: values that lie side by side and share their factors."""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.bfloat16 import number_of
from normlab.norms.kernels.loops.compiled import loop, ordered, where

PIECE = 1 << 11
"""Values summed in their own precision before they join a float64 sum."""


@loop
def row_moments(row):
    """A number near the mean, what it is short of the mean, and the squares' sum about the mean."""
    number = number_of(row)
    count = len(row)
    # 1, which no compiler knows. Without the product a sum that may be reordered becomes
    # (part + row[p]) - center, and the digits that are left over are lost.
    one = number(min(count, 1))
    if count <= PIECE:
        part, square, size = number(0), number(0), number(count)
        for p in range(count):
            part += row[p]
        center, part = part / size, number(0)
        for p in range(count):
            d = row[p] - center
            part += d * one
            square += d * d
        part /= size
        return center, part, max(square - size * part * part, number(0))
    total = 0.0
    for first in range(0, count, PIECE):
        piece, part = row[first : first + PIECE], number(0)
        for p in range(len(piece)):
            part += piece[p]
        total += part
    center = number(total / count)
    left, squares = 0.0, 0.0
    for first in range(0, count, PIECE):
        piece, part, square = row[first : first + PIECE], number(0), number(0)
        for p in range(len(piece)):
            d = piece[p] - center
            part += d * one
            square += d * d
        left += part
        squares += square
    left /= count
    return center, number(left), number(max(squares - count * left * left, 0.0))


@ordered
def row_affine(row, out, s, a, b, relu):
    """y = a * (x - s) + b, then ReLU."""
    zero = number_of(row)(0)
    if relu:
        for p in range(len(row)):
            v = (row[p] - s) * a + b
            out[p] = zero if v <= zero else v
    else:
        for p in range(len(row)):
            out[p] = (row[p] - s) * a + b


@loop
def piece_sums(row, grad, s, a, b, relu):
    """`row_sums` of a piece, in its own precision."""
    zero = number_of(row)(0)
    p0, p1 = zero, zero
    if relu:
        for p in range(len(row)):
            t = row[p] - s
            off = t * a + b <= zero
            p0 += where(off, zero, grad[p])
            p1 += where(off, zero, grad[p] * t)
    else:
        for p in range(len(row)):
            p0 += grad[p]
            p1 += grad[p] * (row[p] - s)
    return p0, p1


@loop
def row_sums(row, grad, s, a, b, relu):
    """Sums of dy and of dy * (x - s), dy taken through the ReLU."""
    if len(row) <= PIECE:  # with few pixels the loop below would weigh
        p0, p1 = piece_sums(row, grad, s, a, b, relu)
        return np.float64(p0), np.float64(p1)
    s0, s1 = 0.0, 0.0
    for first in range(0, len(row), PIECE):
        piece, dy = row[first : first + PIECE], grad[first : first + PIECE]
        p0, p1 = piece_sums(piece, dy, s, a, b, relu)
        s0 += p0
        s1 += p1
    return s0, s1


@ordered
def row_dx(row, grad, to, s, a, b, fa, root, fb, fc, relu):
    """dx = fa * dy + fb * ((x - s) * root) + fc, dy through the ReLU.

    The root is a factor of its own: with fb it may be too small for float32.
    """
    zero = number_of(row)(0)
    if relu:
        for p in range(len(row)):
            t = row[p] - s
            rest = fb * (t * root) + fc
            to[p] = where(t * a + b <= zero, rest, fa * grad[p] + rest)
    else:
        for p in range(len(row)):
            to[p] = fa * grad[p] + fb * ((row[p] - s) * root) + fc
