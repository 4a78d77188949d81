"""Pooled kinds with a gate: rho * batch norm + (1 - rho) * instance norm."""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np

from normlab.norms.kernels.loops.blocks import finish
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.general import affine_of, dx_of, moments_of, sums_of
from normlab.norms.kernels.loops.memory import barrier, split_blocks
from normlab.norms.kernels.loops.pooled_rows import pool


@inlined
def four(own, rows):
    """Four arrays of the (n, c) that lie one after another."""
    return own[:rows], own[rows : 2 * rows], own[2 * rows : 3 * rows], own[3 * rows : 4 * rows]


@loop
def gated_factors(w, own, starts, blocks, given):
    """Scale and shift of the (n, c) of splits i0 to i1, about their own mean."""
    mean, var, scale, shift = four(own, w.N * w.C)
    for i in range(w.i0, w.i1):
        for n in range(starts[i], starts[i + 1]):
            for c in range(w.C):
                r, k = n * w.C + c, i * w.C + c
                gain = np.float64(given.weight[c]) if w.affine else 1.0
                level = np.float64(given.bias[c]) if w.affine else 0.0
                rho = np.float64(given.gate[c])
                batch, own_root = rho * blocks.R[k], (1.0 - rho) / np.sqrt(var[r] + w.eps)
                scale[r] = (batch + own_root) * gain
                shift[r] = batch * ((mean[r] - blocks.M[k]) - blocks.E[k]) * gain + level


@loop
def gated_slopes(w, own, sums, starts, blocks, given, gradients):
    """Gradients of the (n, c)'s mean and variance; adds to those of gain, bias and gate.

    They stand for dx beside scale * dy: dmean / P + 2 * dvar / P * (x - mean).
    """
    mean, var, _, _ = four(own, w.N * w.C)
    d0, d1, dmean, dvar = four(sums, w.N * w.C)
    for i in range(w.i0, w.i1):
        first, last = starts[i], starts[i + 1]
        for c in range(w.C):
            k = i * w.C + c
            gain = np.float64(given.weight[c]) if w.affine else 1.0
            rho, root = np.float64(given.gate[c]), np.float64(blocks.R[k])
            s0, s1, g0, g1 = 0.0, 0.0, 0.0, 0.0
            for n in range(first, last):
                r = n * w.C + c
                far = (mean[r] - blocks.M[k]) - blocks.E[k]
                by_batch = (d1[r] + far * d0[r]) * root  # sum of dy * xhat
                by_image = d1[r] / np.sqrt(var[r] + w.eps)
                s0 += d0[r]
                s1 += by_batch
                g0 += rho * by_batch + (1.0 - rho) * by_image
                g1 += gain * (by_batch - by_image)
            gradients.weight[c] += g0
            gradients.bias[c] += s0
            gradients.gate[c] += g1
            count = (last - first) * w.P
            slope, level = -root * root * gain * rho * s1 / count, -root * gain * rho * s0 / count
            for n in range(first, last):
                r = n * w.C + c
                own_root, rest = 1.0 / np.sqrt(var[r] + w.eps), gain * (1.0 - rho)
                far = (mean[r] - blocks.M[k]) - blocks.E[k]
                dmean[r] = w.P * (level + slope * far) - own_root * rest * d0[r]
                dvar[r] = w.P * slope / 2 - own_root * own_root * own_root * rest * d1[r] / 2


@loop
def forward(x, y, w, blocks, given, own, starts):
    """Statistics, then the map; `own` is room for mean, variance, scale and shift of the (n, c)."""
    mean, var, scale, shift = four(own, w.N * w.C)
    moments_of(w.nhwc, x, mean, var, w.C, w.P, w.n0, w.n1)
    if not w.alone:
        barrier()
    if w.alone or w.thread == 0:
        for k in range(w.i0, w.i1):
            block = split_blocks(blocks, k * w.C, (k + 1) * w.C)
            pool(mean, var, starts[k], starts[k + 1], w.C, 1, block)
            finish(x, w, starts[k], starts[k + 1], block)
        gated_factors(w, own, starts, blocks, given)
    if not w.alone:
        barrier()
    affine_of(w.nhwc, x, mean, scale, shift, y, w.C, w.P, w.C, w.relu, w.n0, w.n1)


@loop
def backward(x, dy, out, w, blocks, given, gradients, own, sums, starts):
    """Sums, then dx; `own` is the forward's, `sums` room for 4 * N * C of float64."""
    mean, var, scale, shift = four(own, w.N * w.C)
    d0, d1, dmean, dvar = four(sums, w.N * w.C)
    n0, n1 = w.n0, w.n1
    sums_of(w.nhwc, x, dy, mean, scale, shift, d0, d1, w.C, w.P, w.C, w.relu, n0, n1)
    if not w.alone:
        barrier()
    if w.alone or w.thread == 0:
        gated_slopes(w, own, sums, starts, blocks, given, gradients)
    if not w.alone:
        barrier()
    dx_of(
        w.nhwc, x, dy, mean, scale, shift, var, dmean, dvar, out, w.C, w.P, w.C, True, w.relu,
        n0, n1,
    )  # fmt: skip
