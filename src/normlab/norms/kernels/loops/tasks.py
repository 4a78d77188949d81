"""What Python calls: each task takes the address of an array of 64-bit integers.

They are sizes and addresses, in the order of the task's first lines. A task is run by one thread or
by a team of OpenMP's.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

from normlab.norms.kernels.loops import (
    pooled_columns,
    pooled_gated,
    pooled_rows,
    pooled_segments,
)
from normlab.norms.kernels.loops.blocks import update_running
from normlab.norms.kernels.loops.compiled import inlined, loop
from normlab.norms.kernels.loops.general import affine_of, dx_of, moments_of, sums_of
from normlab.norms.kernels.loops.memory import (
    Blocks,
    Gradients,
    Parameters,
    Work,
    arguments,
    array,
    barrier,
    computed,
    doubles,
    integers,
    share,
    team_of,
)

ANY = 1 << 40  # values, of room whose size the task works out


@loop
def _moments(q_):
    # shared, N, C, P, nhwc, mean, var, x
    q = arguments(q_, 8)
    N, C, P = q[1], q[2], q[3]
    thread, team = team_of(q[0])
    n0, n1 = share(N, thread, team)
    x = array(q_, q[7], N * C * P)
    moments_of(q[4], x, doubles(q_, q[5], N * C), doubles(q_, q[6], N * C), C, P, n0, n1)


@loop
def _affine(q_):
    # shared, N, C, P, nhwc, step, relu, y, x, mean, scale, shift
    q = arguments(q_, 12)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team = team_of(q[0])
    n0, n1 = share(N, thread, team)
    y, x = array(q_, q[7], N * C * P), array(q_, q[8], N * C * P)
    R = N * C if step else C
    mean, scale, shift = doubles(q_, q[9], R), doubles(q_, q[10], R), doubles(q_, q[11], R)
    affine_of(q[4], x, mean, scale, shift, y, C, P, step, relu, n0, n1)


@loop
def _sums(q_):
    # shared, N, C, P, nhwc, step, relu, d0, d1, x, dy, mean, scale, shift
    q = arguments(q_, 14)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team = team_of(q[0])
    n0, n1 = share(N, thread, team)
    d0, d1 = doubles(q_, q[7], N * C), doubles(q_, q[8], N * C)
    x, dy = array(q_, q[9], N * C * P), array(q_, q[10], N * C * P)
    R = N * C if step else C
    mean, scale, shift = doubles(q_, q[11], R), doubles(q_, q[12], R), doubles(q_, q[13], R)
    sums_of(q[4], x, dy, mean, scale, shift, d0, d1, C, P, step, relu, n0, n1)


@loop
def _dx(q_):
    # shared, N, C, P, nhwc, step, relu, out, x, dy, mean, scale, shift, var, dmean, dvar (0: none)
    q = arguments(q_, 16)
    N, C, P, step, relu = q[1], q[2], q[3], q[5], q[6]
    thread, team = team_of(q[0])
    n0, n1 = share(N, thread, team)
    out, x, dy = array(q_, q[7], N * C * P), array(q_, q[8], N * C * P), array(q_, q[9], N * C * P)
    R, some = N * C if step else C, N * C
    mean, scale, shift = doubles(q_, q[10], R), doubles(q_, q[11], R), doubles(q_, q[12], R)
    var, dmean = doubles(q_, q[13], some), doubles(q_, q[14], some)
    dvar, sloped = doubles(q_, q[15], some), q[15] != 0
    dx_of(q[4], x, dy, mean, scale, shift, var, dmean, dvar, out, C, P, step, sloped, relu, n0, n1)


# Pooled tasks, forward:
#   shared, N, C, P, nhwc, relu, affine, splits, size, starts, eps, moves (1: yes, 2: each split,
#   4: plain mean), momentum, stats, own, room, y, x, weight, bias, gate, running_mean, running_var,
#   batches
# and backward: the same up to eps, then
#   threads, sums, stats, own, room, dx, dweight, dbias, dgate, x, dy, weight, bias, gate
# stats holds M, E, V and R of the blocks; own the (n, c)'s moments that a gate's backward needs,
# float64. room is for moments of the (n, c), float64, or for the parts of columns; in the backward
# it begins with `sums` float64 numbers: 3 * C of each thread, then some for the (n, c). The
# addresses of what is not there are 0.


@loop
def _work(q, starts, eps):
    """What this thread has to do, from the first arguments of a pooled task."""
    thread, team = team_of(q[0])
    N, splits = q[1], q[7]
    # With a split or more for every thread none needs what another has.
    alone = splits >= team
    i0, i1 = share(splits, thread, team) if alone else (0, splits)
    n0, n1 = (starts[i0], starts[i1]) if alone else share(N, thread, team)
    nhwc, relu, affine = q[4] != 0, q[5] != 0, q[6] != 0
    return Work(
        N, q[2], q[3], nhwc, relu, affine, splits, q[8], thread, team, alone, i0, i1, n0, n1, eps
    )


@loop
def _blocks(q_, address, w):
    """The blocks' statistics of a pooled task."""
    count = w.splits * (w.C // w.size)
    stats = computed(q_, address, 4 * count)
    return Blocks(
        stats[:count], stats[count : 2 * count], stats[2 * count : 3 * count], stats[3 * count :]
    )


@loop
def _begin(q_, count):
    """A pooled task's arguments, its splits, its part of the work, and statistics' arrays."""
    q = arguments(q_, count)
    starts = integers(q_, q[9], q[7] + 1)
    w = _work(q, starts, doubles(q_, q[10], 1)[0])
    return q, starts, w, _blocks(q_, q[13], w), doubles(q_, q[14], 4 * w.N * w.C)


@inlined
def _parameters(q_, weight, bias, gate, C):
    """Gain, bias and gate at their addresses."""
    return Parameters(computed(q_, weight, C), computed(q_, bias, C), computed(q_, gate, C))


@loop
def _forward(q_):
    q, starts, w, blocks, own = _begin(q_, 24)
    y, x = array(q_, q[16], w.N * w.C * w.P), array(q_, q[17], w.N * w.C * w.P)
    given = _parameters(q_, q[18], q[19], q[20], w.C)
    return q, starts, w, blocks, own, x, y, given


@loop
def _end_forward(q_, q, starts, w, blocks):
    """Move the running statistics that were given."""
    if q[11]:
        if w.alone and w.team > 1:  # the other threads' blocks
            barrier()
        if w.thread == 0:
            update_running(
                w, blocks, starts, computed(q_, q[21], w.C), computed(q_, q[22], w.C),
                integers(q_, q[23], 1), doubles(q_, q[12], 1)[0], q[11] & 2 != 0, q[11] & 4 != 0,
            )  # fmt: skip


@loop
def _backward(q_):
    q, starts, w, blocks, own = _begin(q_, 25)
    values, threads = w.N * w.C * w.P, q[11]
    out, x, dy = array(q_, q[16], values), array(q_, q[20], values), array(q_, q[21], values)
    given = _parameters(q_, q[22], q[23], q[24], w.C)
    sums = doubles(q_, q[15], q[12])
    mine = sums[3 * w.C * w.thread : 3 * w.C * (w.thread + 1)]
    mine[:] = 0
    gradients = Gradients(mine[: w.C], mine[w.C : 2 * w.C], mine[2 * w.C :])
    return q, starts, w, blocks, own, x, dy, out, given, gradients, sums, 3 * w.C * threads


@loop
def _end_backward(q_, q, w, sums):
    """Write the gradients of the parameters."""
    if w.team > 1:
        barrier()
    if w.thread == 0:
        # Where threads share splits, each has summed up the whole by itself.
        for k in range(3):
            if q[17 + k]:
                wanted = computed(q_, q[17 + k], w.C)
                for c in range(w.C):
                    total = sums[k * w.C + c]
                    for other in range(1, w.team if w.alone else 1):
                        total += sums[(3 * other + k) * w.C + c]
                    wanted[c] = total


@loop
def _rows_forward(q_):
    q, starts, w, blocks, own, x, y, given = _forward(q_)
    pooled_rows.forward(x, y, w, blocks, given, doubles(q_, q[15], 2 * w.N * w.C), starts)
    _end_forward(q_, q, starts, w, blocks)


@loop
def _rows_backward(q_):
    q, starts, w, blocks, own, x, dy, out, given, gradients, sums, first = _backward(q_)
    pooled_rows.backward(x, dy, out, w, blocks, given, gradients, sums[first:], starts)
    _end_backward(q_, q, w, sums)


@loop
def _columns_forward(q_):
    q, starts, w, blocks, own, x, y, given = _forward(q_)
    pooled_columns.forward(x, y, w, blocks, given, computed(q_, q[15], ANY), starts)
    _end_forward(q_, q, starts, w, blocks)


@loop
def _columns_backward(q_):
    q, starts, w, blocks, own, x, dy, out, given, gradients, sums, first = _backward(q_)
    room = computed(q_, q[15] + 8 * q[12], ANY)
    pooled_columns.backward(x, dy, out, w, blocks, given, gradients, room, starts)
    _end_backward(q_, q, w, sums)


@loop
def _segments_forward(q_):
    q, starts, w, blocks, own, x, y, given = _forward(q_)
    pooled_segments.forward(x, y, w, blocks, given)
    _end_forward(q_, q, starts, w, blocks)


@loop
def _segments_backward(q_):
    q, starts, w, blocks, own, x, dy, out, given, gradients, sums, first = _backward(q_)
    pooled_segments.backward(x, dy, out, w, blocks, given, gradients)
    _end_backward(q_, q, w, sums)


@loop
def _gated_forward(q_):
    q, starts, w, blocks, own, x, y, given = _forward(q_)
    pooled_gated.forward(x, y, w, blocks, given, own, starts)
    _end_forward(q_, q, starts, w, blocks)


@loop
def _gated_backward(q_):
    q, starts, w, blocks, own, x, dy, out, given, gradients, sums, first = _backward(q_)
    pooled_gated.backward(x, dy, out, w, blocks, given, gradients, own, sums[first:], starts)
    _end_backward(q_, q, w, sums)


def entry_points(stamp):
    """The tasks by name, as functions that Numba compiles and caches.

    Numba's cache looks at a task's own file alone, and at what its function encloses: `stamp`, a
    number made from the text of all the loops, has a change of any of them compiled.
    """

    def moments(q_):
        if stamp:
            _moments(q_)

    def affine(q_):
        if stamp:
            _affine(q_)

    def sums(q_):
        if stamp:
            _sums(q_)

    def dx(q_):
        if stamp:
            _dx(q_)

    def rows_forward(q_):
        if stamp:
            _rows_forward(q_)

    def rows_backward(q_):
        if stamp:
            _rows_backward(q_)

    def columns_forward(q_):
        if stamp:
            _columns_forward(q_)

    def columns_backward(q_):
        if stamp:
            _columns_backward(q_)

    def segments_forward(q_):
        if stamp:
            _segments_forward(q_)

    def segments_backward(q_):
        if stamp:
            _segments_backward(q_)

    def gated_forward(q_):
        if stamp:
            _gated_forward(q_)

    def gated_backward(q_):
        if stamp:
            _gated_backward(q_)

    made = (
        moments, affine, sums, dx, rows_forward, rows_backward, columns_forward, columns_backward,
        segments_forward, segments_backward, gated_forward, gated_backward,
    )  # fmt: skip
    return {task.__name__: task for task in made}
