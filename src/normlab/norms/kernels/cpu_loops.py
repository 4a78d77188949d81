"""The loops of the CPU backend, compiled by Numba when first used; see `normlab.norms.kernels.cpu`.

x and y are maps of (N, C, H, W) with P = H * W pixels, given as flat arrays; a row r is one (n, c).
Factors and statistics are arrays over rows. Contiguous maps hold a row's pixels side by side
("nchw"); channels_last maps hold a pixel's channels side by side ("nhwc"), where loops run over
blocks of several pixels with the factors tiled to match: so they are long when C is small.

Every loop works on images n0 to n1, so that threads can share the work; a row's sums are made by
one thread in one order. After the loops over maps stands what lies between them: from moments of
rows to blocks and back to factors. A block is one of `splits` runs of images (from starts[i] to
starts[i + 1]) by `size` consecutive channels; M and V are the blocks' mean and variance.

What Python calls are the tasks at the end: each takes the address of an array of 64-bit integers,
addresses and sizes in the order of its first line, and is run by one thread or by a team of
OpenMP's. All of it is one file, since Numba compiles a task anew when the task's own file changed.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

# Sums may be reordered to use vector units; NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
_TILE = 64
# Values that a thread keeps in cache between the loops of a forward or backward.
_CACHED = 1 << 14

thread_number = types.ExternalFunction("normlab_thread_number", types.int32())
team_size = types.ExternalFunction("normlab_team_size", types.int32())
barrier = types.ExternalFunction("normlab_barrier", types.void())

# Inlined, or the process that compiles would run each loop's own version where one that loads the
# cache runs the copy inside the task, optimized by itself: equal to rounding, not to the bit.
loop = njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)


@njit(inline="always")
def _tile_pixels(C, P):
    return min(max(1, _TILE // C), P)


@njit(inline="always")
def _tile(source, start, C, pixels, out):
    for p in range(pixels):
        for c in range(C):
            out[p * C + c] = source[start + c]


@loop
def moments_nchw(x, mean, var, C, P, n0, n1):
    """Mean and biased variance of each row, in two passes while the row is in cache."""
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


@loop
def affine_nchw(x, center, scale, shift, y, C, P, step, relu, n0, n1):
    """y = scale * (x - center) + shift, then ReLU; step is C for factors per row, else 0."""
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


@loop
def sums_nchw(x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1):
    """Sums of dy and of dy * (x - center) of each row, dy taken through the ReLU."""
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


@loop
def dx_nchw(x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1):
    """dx = fa * dy + fb * (x - center) + fc, dy through the ReLU; fa, fb, fc as the factors."""
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


@loop
def moments_nhwc(x, mean, var, C, P, n0, n1):
    """As `moments_nchw`, for channels_last maps."""
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


@loop
def affine_nhwc(x, center, scale, shift, y, C, P, step, relu, n0, n1):
    """As `affine_nchw`, for channels_last maps."""
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


@loop
def sums_nhwc(x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1):
    """As `sums_nchw`, for channels_last maps."""
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


@loop
def dx_nhwc(x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1):
    """As `dx_nchw`, for channels_last maps."""
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


@loop
def moments_of(nhwc, x, mean, var, C, P, n0, n1):
    """As `moments_nchw`, for maps of either layout; the next three likewise."""
    if nhwc:
        moments_nhwc(x, mean, var, C, P, n0, n1)
    else:
        moments_nchw(x, mean, var, C, P, n0, n1)


@loop
def affine_of(nhwc, x, center, scale, shift, y, C, P, step, relu, n0, n1):
    if nhwc:
        affine_nhwc(x, center, scale, shift, y, C, P, step, relu, n0, n1)
    else:
        affine_nchw(x, center, scale, shift, y, C, P, step, relu, n0, n1)


@loop
def sums_of(nhwc, x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1):
    if nhwc:
        sums_nhwc(x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1)
    else:
        sums_nchw(x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1)


@loop
def dx_of(nhwc, x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1):
    if nhwc:
        dx_nhwc(x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1)
    else:
        dx_nchw(x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1)


@loop
def pool_forward(
    mean, var, starts, weight, bias, gate, M, V, scale, shift,
    C, s0, s1, size, affine, gated, eps,
):  # fmt: skip
    """Statistics of every block and from them the factors of every row.

    With a gate, the result is gate * this + (1 - gate) * instance norm.
    """
    groups = C // size
    one, zero = mean.dtype.type(1), mean.dtype.type(0)
    for i in range(s0, s1):
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


@loop
def spread_blocks(M, V, weight, bias, mean, scale, shift, C, n0, n1, size, affine, eps):
    """The factors of every row from the statistics of its block, which stand in for the row's own.

    For blocks of one image, with `mean` of a row the block's: less to compute than from moments of
    rows, and exact to rounding, since every deviation is from the block's mean anyway.
    """
    groups = C // size
    one, zero = M.dtype.type(1), M.dtype.type(0)
    for n in range(n0, n1):
        for g in range(groups):
            center = M[n * groups + g]
            root = one / np.sqrt(V[n * groups + g] + eps)
            for c in range(g * size, (g + 1) * size):
                mean[n * C + c] = center
                scale[n * C + c] = root * weight[c] if affine else root
                shift[n * C + c] = bias[c] if affine else zero


@loop
def lerp(start, end, share):
    """As torch's: exact at both ends, so that a small variance survives the start's 1."""
    one = type(start)(1)
    if share < 0.5:
        return start + share * (end - start)
    return end - (end - start) * (one - share)


@loop
def follow(M, V, starts, C, P, running_mean, running_var, batches, momentum, per_split, average):
    """Move running statistics towards the blocks', variances unbiased within their block.

    One block is a split of the batch by one channel. With `average` they are the plain mean over
    all batches, else they move by the momentum.
    """
    one, zero = M.dtype.type(1), M.dtype.type(0)
    splits = len(starts) - 1
    images = starts[splits]
    for i in range(splits if per_split else 1):
        batches[0] += 1
        share = M.dtype.type(one / batches[0]) if average else momentum
        for c in range(C):
            mean, var = zero, zero
            for k in range(i, i + 1 if per_split else splits):
                size = starts[k + 1] - starts[k]
                weight = one if per_split else M.dtype.type(size / images)
                count = size * P
                mean += weight * M[k * C + c]
                var += weight * V[k * C + c] * M.dtype.type(count / (count - 1))
            running_mean[c] = lerp(running_mean[c], mean, share)
            running_var[c] = lerp(running_var[c], var, share)


@loop
def pool_backward(
    d0, d1, mean, var, starts, weight, gate, M, V, scale, fa, fb, fc, dweight, dbias, dgate,
    C, P, s0, s1, size, affine, gated, eps,
):  # fmt: skip
    """The factors of dx = fa * dy + fb * (x - mean) + fc; adds to gradients of gain, bias, gate.

    With xhat = (x - M) * root over a block of K values and e = gain * dy:
    dx = root * (e - mean(e) - xhat * mean(e * xhat)), and (x - M) = (x - mean) + (mean - M).
    """
    groups = C // size
    one, zero = mean.dtype.type(1), mean.dtype.type(0)
    for i in range(s0, s1):
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
                    fa[r] = scale[r]
                    fb[r] = slope
                    fc[r] = level + slope * (mean[r] - center)
                    if gated:
                        gain = weight[c] if affine else one
                        own = one / np.sqrt(var[r] + eps)
                        rest = gain * (one - gate[c])
                        fb[r] -= own * own * own * rest * d1[r] / P
                        fc[r] -= own * rest * d0[r] / P


@intrinsic
def _number_at(context, like, address):
    """A pointer of the type of `like` to an address."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[1], context.get_value_type(signature.return_type))

    return like(like, address), generate


@intrinsic
def _integers(context, pointer):
    """The same pointer, to 64-bit integers."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(pointer), generate


@intrinsic
def _doubles(context, pointer):
    """The same pointer, to float64 numbers."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(pointer), generate


@njit(inline="always")
def _share(q, N):
    """This thread, and the images that are its share; q[0] says whether there is a team."""
    if q[0] == 0:
        return 0, 1, 0, N
    thread, team = thread_number(), team_size()
    return thread, team, N * thread // team, N * (thread + 1) // team


@njit(inline="always")
def _splits_together(splits, N, C, P):
    """Splits that are normalized before the next are read, while their values are in cache."""
    return max(1, _CACHED * splits // (N * C * P))


@njit(inline="always")
def array(q_, address, count):
    """The numbers at an address, of the type the task is compiled for: that of its q_."""
    return carray(_number_at(q_, address), count)


@njit(inline="always")
def factors(q_, q, first, N, C, step):
    count = N * C if step else C
    return (
        array(q_, q[first], count),
        array(q_, q[first + 1], count),
        array(q_, q[first + 2], count),
    )


@njit(inline="always")
def follow_running(q_, q, M, V, starts, C, P, momentum):
    """`follow` the buffers that a forward's arguments name."""
    batches = carray(_integers(_number_at(q_, q[21])), 1)
    mean, var = array(q_, q[19], C), array(q_, q[20], C)
    per_split, average = q[18] & 2 != 0, q[18] & 4 != 0
    follow(M, V, starts, C, P, mean, var, batches, momentum, per_split, average)


@njit(inline="always")
def hand_over(q_, q, gradients, C, team):
    """Sum up what a team's threads have, if it is one, and write the gradients that are wanted."""
    for k in range(3):
        if q[19 + k]:
            wanted = array(q_, q[19 + k], C)
            for c in range(C):
                total = gradients[k * C + c]
                if team:
                    total = gradients[3 * C + k * C + c]
                    for other in range(1, team):
                        total += gradients[3 * C * (other + 1) + k * C + c]
                wanted[c] = total


def moments(q_):
    # team, N, C, P, nhwc, x, mean, var
    q = carray(_integers(q_), 8)
    N, C, P = q[1], q[2], q[3]
    thread, team, n0, n1 = _share(q, N)
    x, mean, var = array(q_, q[5], N * C * P), array(q_, q[6], N * C), array(q_, q[7], N * C)
    moments_of(q[4], x, mean, var, C, P, n0, n1)


def affine(q_):
    # team, N, C, P, nhwc, step, relu, x, center, scale, shift, y
    q = carray(_integers(q_), 12)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team, n0, n1 = _share(q, N)
    x, y = array(q_, q[7], N * C * P), array(q_, q[11], N * C * P)
    center, scale, shift = factors(q_, q, 8, N, C, step)
    affine_of(q[4], x, center, scale, shift, y, C, P, step, relu, n0, n1)


def sums(q_):
    # team, N, C, P, nhwc, step, relu, x, dy, center, scale, shift, d0, d1
    q = carray(_integers(q_), 14)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team, n0, n1 = _share(q, N)
    x, dy = array(q_, q[7], N * C * P), array(q_, q[8], N * C * P)
    center, scale, shift = factors(q_, q, 9, N, C, step)
    d0, d1 = array(q_, q[12], N * C), array(q_, q[13], N * C)
    sums_of(q[4], x, dy, center, scale, shift, d0, d1, C, P, step, relu, n0, n1)


def dx(q_):
    # team, N, C, P, nhwc, step, relu, x, dy, center, scale, shift, fa, fb, fc, out
    q = carray(_integers(q_), 16)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team, n0, n1 = _share(q, N)
    x, dy, out = array(q_, q[7], N * C * P), array(q_, q[8], N * C * P), array(q_, q[15], N * C * P)
    center, scale, shift = factors(q_, q, 9, N, C, step)
    fa, fb, fc = factors(q_, q, 12, N, C, step)
    dx_of(q[4], x, dy, center, scale, shift, fa, fb, fc, out, C, P, step, relu, n0, n1)


def pooled_forward(q_):
    # team, N, C, P, nhwc, relu, splits, size, affine, gated, starts, (eps, momentum), then
    # x, y, work, weight, bias, gate, follows (1: yes, 2: per split, 4: the plain mean),
    # running_mean, running_var, batches
    # work holds mean, var, scale and shift of the N * C rows, then the blocks' M and V.
    q = carray(_integers(q_), 22)
    N, C, P, nhwc, relu, splits, size = q[1], q[2], q[3], q[4], q[5], q[6], q[7]
    thread, team, n0, n1 = _share(q, N)
    R, blocks = N * C, splits * (C // size)
    work = array(q_, q[14], 4 * R + 2 * blocks)
    mean, var, scale, shift = (
        work[:R],
        work[R : 2 * R],
        work[2 * R : 3 * R],
        work[3 * R : 4 * R],
    )
    M, V = work[4 * R : 4 * R + blocks], work[4 * R + blocks :]
    x, y = array(q_, q[12], R * P), array(q_, q[13], R * P)
    weight, bias, gate = array(q_, q[15], C), array(q_, q[16], C), array(q_, q[17], C)
    starts = carray(_integers(_number_at(q_, q[10])), splits + 1)
    numbers = carray(_doubles(_number_at(q_, q[11])), 2)
    eps, momentum = x.dtype.type(numbers[0]), x.dtype.type(numbers[1])
    # With a split or more for every thread none needs what another has.
    alone = splits >= team
    s0, s1 = (splits * thread // team, splits * (thread + 1) // team) if alone else (0, splits)
    together = _splits_together(splits, N, C, P) if alone else splits
    # A block of one image lies in one piece.
    single = splits == N and alone and not nhwc and not q[9]
    for i in range(s0, s1, together):
        k = min(i + together, s1)
        if alone:
            n0, n1 = starts[i], starts[k]
        if single:
            moments_nchw(x, M, V, C // size, size * P, n0, n1)
            spread_blocks(
                M, V, weight, bias, mean, scale, shift, C, n0, n1, size, q[8], eps
            )  # fmt: skip
        else:
            moments_of(nhwc, x, mean, var, C, P, n0, n1)
        if not alone:
            barrier()
        if not single and (alone or thread == 0):
            pool_forward(
                mean, var, starts, weight, bias, gate, M, V, scale, shift,
                C, i, k, size, q[8], q[9], eps,
            )  # fmt: skip
        if not alone:
            barrier()
        affine_of(nhwc, x, mean, scale, shift, y, C, P, C, relu, n0, n1)
    if q[18]:
        if alone and team > 1:  # the other threads' blocks
            barrier()
        if thread == 0:
            follow_running(q_, q, M, V, starts, C, P, momentum)


def pooled_backward(q_):
    # as pooled_forward up to (eps, momentum), then x, dy, dx, work, weight, gate, rows, and where
    # the gradients of gain, bias and gate go, 0 for none
    # rows holds d0, d1, fa, fb and fc of the rows, then the three gradients, C each, and room for
    # as many again from each thread.
    q = carray(_integers(q_), 22)
    N, C, P, nhwc, relu, splits, size = q[1], q[2], q[3], q[4], q[5], q[6], q[7]
    thread, team, n0, n1 = _share(q, N)
    R, blocks = N * C, splits * (C // size)
    work = array(q_, q[15], 4 * R + 2 * blocks)
    rows = array(q_, q[18], 5 * R + 3 * C * (team + 1))
    mean, var, scale, shift = (
        work[:R],
        work[R : 2 * R],
        work[2 * R : 3 * R],
        work[3 * R : 4 * R],
    )
    M, V = work[4 * R : 4 * R + blocks], work[4 * R + blocks :]
    d0, d1 = rows[:R], rows[R : 2 * R]
    fa, fb, fc = rows[2 * R : 3 * R], rows[3 * R : 4 * R], rows[4 * R : 5 * R]
    x, dy, out = array(q_, q[12], R * P), array(q_, q[13], R * P), array(q_, q[14], R * P)
    weight, gate = array(q_, q[16], C), array(q_, q[17], C)
    starts = carray(_integers(_number_at(q_, q[10])), splits + 1)
    eps = x.dtype.type(carray(_doubles(_number_at(q_, q[11])), 2)[0])
    alone = splits >= team
    s0, s1 = (splits * thread // team, splits * (thread + 1) // team) if alone else (0, splits)
    together = _splits_together(splits, N, C, P) if alone else splits
    gradients = rows[5 * R :]
    shared = alone and team > 1
    own = gradients[3 * C * (thread + 1) :] if shared else gradients
    if shared or thread == 0:
        own[: 3 * C] = x.dtype.type(0)
    for i in range(s0, s1, together):
        k = min(i + together, s1)
        if alone:
            n0, n1 = starts[i], starts[k]
        sums_of(nhwc, x, dy, mean, scale, shift, d0, d1, C, P, C, relu, n0, n1)
        if not alone:
            barrier()
        if alone or thread == 0:
            pool_backward(
                d0, d1, mean, var, starts, weight, gate, M, V, scale, fa, fb, fc,
                own[:C], own[C : 2 * C], own[2 * C : 3 * C],
                C, P, i, k, size, q[8], q[9], eps,
            )  # fmt: skip
        if not alone:
            barrier()
        dx_of(nhwc, x, dy, mean, scale, shift, fa, fb, fc, out, C, P, C, relu, n0, n1)
    if shared:
        barrier()
    if thread == 0:
        hand_over(q_, q, gradients, C, team if shared else 0)
