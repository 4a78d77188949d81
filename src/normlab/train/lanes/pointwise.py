"""The code of what is no convolution: pooling, sums, how a batch comes in, softmax and its loss."""

# mypy: ignore-errors

from __future__ import annotations

from llvmlite import ir

from normlab.native.emitter import FLOATS, I32, I64, const
from normlab.train.lanes.graph import Add, Pool, Read
from normlab.train.lanes.memory import LARGE, Slots
from normlab.train.lanes.views import Reader, Writer, in_runs
from normlab.train.lanes.writer import LaneWriter


def pool_forward(w: LaneWriter, pool: Pool, slots: Slots) -> None:
    """Maximum or average over each window."""
    (rows, columns), stored = pool.window, pool.source.map
    with w.images() as image:
        source = Reader(w, "a", pool.source, slots, image)
        out = Writer(w, "o", pool.out, slots, image)
        out.begin()
        with w.each(0, pool.out.height) as row, w.each(0, stored.channels) as channel:
            for x in range(pool.out.width):
                result = None
                for value in _window(source, pool, row, channel, x):
                    if result is None:
                        result = value
                    elif pool.is_max:
                        result = w.choose(_is_new_maximum(w, value, result), value, result)
                    else:
                        result = w.add(result, value)
                if not pool.is_max:
                    result = w.multiply(result, w.constant(1 / (rows * columns), w.lanes))
                out.emit(row, channel, x, [result])


def _is_new_maximum(w: LaneWriter, value, maximum):
    """As torch: the first of equal values stays, and NaN wins."""
    b = w.builder
    is_nan = b.and_(b.fcmp_unordered("uno", value, value), b.fcmp_ordered("ord", maximum, maximum))
    return b.or_(w.is_above(value, maximum), is_nan)


def _window(source: Reader, pool: Pool, row, channel, x: int) -> list:
    affine = source.affine(channel)
    w, (rows, columns) = source.writer, pool.window
    found = []
    for i in range(rows):
        at = w.index((row, rows), i)
        offset = source.offset(at, channel)
        found += [
            source.value(at, channel, w.index(offset, x * columns + j), 0, affine)
            for j in range(columns)
        ]
    return found


def pool_backward(w: LaneWriter, pool: Pool, slots: Slots, *, has_raw: bool) -> None:
    """The gradient goes to the first maximum of a window, or in equal parts to all."""
    (rows, columns), stored, out_map = pool.window, pool.source.map, pool.out
    part = w.constant(1 / (rows * columns), w.lanes)
    ones = ir.Constant(ir.VectorType(ir.IntType(1), w.lanes), [1] * w.lanes)
    with w.images() as image:
        source = Reader(w, "a", pool.source, slots, image)
        out = Writer(w, "o", out_map, slots, image)
        out.has_raw = has_raw
        source.begin_back()
        source.is_far = bool(stored.norm) and stored.size >= LARGE
        scratch = w.array("scratch0")
        with w.each(0, out_map.height) as row:
            out.gradient_row(row, scratch)
            with w.each(0, stored.channels) as channel:
                shares = [[None] * stored.width for _ in range(rows)]
                views = [[w.zero] * stored.width for _ in range(rows)]
                for x in range(out_map.width):
                    g = w.get(scratch, out.offset(row, channel, x))
                    if not pool.is_max:
                        g = w.multiply(g, part)
                    values = _window(source, pool, row, channel, x)
                    if pool.is_max:
                        top = values[0]
                        for value in values[1:]:
                            top = w.choose(_is_new_maximum(w, value, top), value, top)
                        free = ones
                    for number, value in enumerate(values):
                        i, j = number // columns, x * columns + number % columns
                        views[i][j], shares[i][j] = value, g
                        if pool.is_max:
                            hit = w.builder.and_(free, w.builder.fcmp_unordered("ueq", value, top))
                            free = w.builder.and_(free, w.builder.xor(hit, ones))
                            shares[i][j] = w.choose(hit, g, w.zero)
                for i in range(rows):
                    values = [w.zero if g is None else g for g in shares[i]]
                    at = w.index((row, rows), i)
                    source.back(at, channel, const(0), values, lambda j, i=i: views[i][j])
        with (
            w.each(out_map.height * rows, stored.height) as row,
            w.each(0, stored.channels) as channel,
        ):
            zeros = [w.zero] * stored.width  # no window reaches the last rows
            source.back(row, channel, const(0), zeros, lambda j: w.zero)


def add_forward(w: LaneWriter, add: Add, slots: Slots) -> None:
    """Branch and shortcut, pixel by pixel."""
    with w.images() as image:
        source = Reader(w, "a", add.source, slots, image)
        shortcut = Reader(w, "b", add.shortcut, slots, image)
        out = Writer(w, "o", add.out, slots, image)
        out.begin()
        with w.each(0, add.out.height) as row:
            for first, last, both in _parts(add):
                with w.each(first, last) as channel:
                    one = source.affine(channel)
                    two = shortcut.affine(channel) if both else None
                    for x in range(add.out.width):
                        value = source.value(row, channel, source.offset(row, channel, x), 0, one)
                        if both:
                            at = w.index((row, add.stride))
                            offset = shortcut.offset(at, channel, x * add.stride)
                            other = shortcut.value(at, channel, offset, 0, two)
                            value = w.add(value, other)
                        out.emit(row, channel, x, [value])


def _parts(add: Add) -> list[tuple[int, int, bool]]:
    """Channels that the shortcut has, and those it has not."""
    shared = add.shortcut.map.channels
    return [(0, shared, True), (shared, add.out.channels, False)]


def add_backward(w: LaneWriter, add: Add, slots: Slots, *, has_raw: bool) -> None:
    """The gradient goes to both."""
    out_map, thin = add.out, add.shortcut.map
    with w.images() as image:
        source = Reader(w, "a", add.source, slots, image)
        shortcut = Reader(w, "b", add.shortcut, slots, image)
        out = Writer(w, "o", out_map, slots, image)
        out.has_raw = has_raw
        scratch = w.array("scratch0")
        source.begin_back()
        shortcut.begin_back()
        with w.each(0, out_map.height) as row:
            out.gradient_row(row, scratch)
            _pass_on(source, row, range(out_map.width), out, row)
            at = w.index((row, add.stride))
            _pass_on(shortcut, at, range(0, thin.width, add.stride), out, row)
        if add.stride > 1:  # rows between those that were taken
            with w.each(0, thin.height) as row, w.each(0, thin.channels) as channel:
                between = w.builder.icmp_signed(
                    "!=", w.builder.srem(row, const(add.stride)), const(0)
                )
                with w.builder.if_then(between):
                    zeros = [w.zero] * thin.width
                    shortcut.back(row, channel, const(0), zeros, lambda x: w.zero)


def _pass_on(source: Reader, at, taken: range, out: Writer, row) -> None:
    """A row of the sum's gradient, back through the view of one of its parts."""
    w = source.writer
    scratch = w.array("scratch0")
    with w.each(0, source.map.channels) as channel:
        affine = source.affine(channel)
        offset = source.offset(at, channel)
        values = [w.zero] * source.map.width
        for number, x in enumerate(taken):
            values[x] = w.get(scratch, out.offset(row, channel, number))
        needs = source.map.relu and not source.read.raw

        def view(x):
            return source.value(at, channel, w.index(offset, x), 0, affine)

        source.back(at, channel, const(0), values, view if needs else lambda x: w.zero)


def pack(w: LaneWriter, channels: int, height: int, width: int) -> None:
    """Put the lanes' batches (N, C, H, W) into the map of images; `extra` has their addresses."""
    b, size = w.builder, channels * height * width
    addresses = w.once("extra", I64.as_pointer())
    batches = [b.inttoptr(b.load(w.place(addresses, lane)), FLOATS) for lane in range(w.lanes)]
    with w.images() as image, w.each(0, channels) as channel, w.each(0, height) as row:
        line = w.index((image, size), (channel, height * width), (row, width))
        made = w.index((image, size), (row, channels * width), (channel, width))

        def one(x):
            vector = ir.Constant(w.vector, ir.Undefined)
            for lane, batch in enumerate(batches):
                value = b.load(w.place(batch, line, x), align=4)
                vector = b.insert_element(vector, value, ir.Constant(I32, lane))
            w.put(vector, w.array("a_y"), made, x)

        in_runs(w, width, one)


LOSS_ROWS = 4
"""What the loss tells of each image: the largest logit's class, the sum of exponentials relative to
it, the sum over classes of target times (logit - largest), the sum of the targets."""


def softmax_loss(w: LaneWriter, read: Read, slots: Slots) -> None:
    """Cross entropy with soft targets and its gradient at the logits.

    `extra` holds the targets (N, classes, lanes), `d` gets `LOSS_ROWS` numbers of each image, `p`
    holds one vector: 1 over the batch size.
    """
    classes = read.map.channels
    share = w.get(w.array("p"))
    with w.images() as image:
        source = Reader(w, "a", read, slots, image)
        targets = w.place(w.array("extra"), (image, classes))
        told = w.place(w.array("d"), (image, LOSS_ROWS))
        logits = [source.value(const(0), const(i), const(i), 0, None) for i in range(classes)]
        top, where = logits[0], w.constant(0.0, w.lanes)
        for i, logit in enumerate(logits[1:], start=1):
            is_new = _is_new_maximum(w, logit, top)
            top = w.choose(is_new, logit, top)
            where = w.choose(is_new, w.constant(float(i), w.lanes), where)
        total = product = weight = w.zero
        powers = []
        for i, logit in enumerate(logits):
            distance = w.subtract(logit, top)
            target = w.get(targets, i)
            powers.append(w.exp(distance))
            total = w.add(total, powers[-1])
            # An infinite distance with target 0 is no part of the loss.
            product = w.choose(
                w.builder.fcmp_ordered("==", target, w.zero),
                product,
                w.fma(target, distance, product),
            )
            weight = w.add(weight, target)
        for i, number in enumerate((where, total, product, weight)):
            w.put(number, told, i)
        scale = w.builder.fdiv(weight, total)
        gradients = [
            w.multiply(w.subtract(w.multiply(power, scale), w.get(targets, i)), share)
            for i, power in enumerate(powers)
        ]
        for i, g in enumerate(gradients):
            source.back(const(0), const(i), const(0), [g], lambda x: w.zero)
