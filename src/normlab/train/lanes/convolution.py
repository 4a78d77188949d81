"""The loop nests of convolutions, for all lanes at once.

An image of all lanes lies as (H, C, W, lanes): a row of it is C lines of W vectors. One row of the
result, for `outputs` channels at a time and a run of neighbouring columns, is kept in registers:

    for each input channel                                  acc[output][column] in registers
        for each row of the kernel that meets the map
            load the pixels that the run meets              each is used for every output
            for each column of the kernel, each output
                load the weight                             each is used for every column
                for each column of the run:  acc += pixel * weight

A result is thus one chain of multiply-adds over (channel, row, column of the kernel), whatever the
tile: programs of other widths give the same bits. The gradient of the map is the same nest with the
roles of the two maps turned; which columns meet is known when the code is written, which rows meet
is two bounds of a loop. The gradient of the weights keeps acc[output][column of the kernel] instead
and walks over the pixels of a row, one chain for each row (of small maps, for each image).

A large map goes through row by row: the view of a row is made, then used while it is in the first
cache, and the gradient goes from the last row to the first, so that it may overwrite the one it is
made from. Of a small map each step is done for the whole image, with the outputs in the outer loop:
there it is the weights that should stay in the cache.
"""

# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Callable

from normlab.native import compiled
from normlab.native.emitter import const
from normlab.train.lanes.graph import Conv
from normlab.train.lanes.memory import Slots, by_rows
from normlab.train.lanes.views import Reader, Writer
from normlab.train.lanes.writer import LaneWriter

Meetings = list[list[tuple[int, int]]]
"""For each column of what is made: the columns of what is read, each with its kernel column."""


def registers() -> int:
    """Vectors that fit into the processor's registers."""
    return compiled.registers()


def runs(width: int, longest: int) -> list[int]:
    """Nearly equal parts of a row."""
    count = -(-width // longest)
    short, more = divmod(width, count)
    return [short + 1] * more + [short] * (count - more)


def tile(outputs: int, width: int, kernel: int) -> tuple[int, int]:
    """Outputs and columns that are kept in registers: as many results for a load as possible."""
    best = (0.0, 1, 1)
    for many in (u for u in range(1, 9) if outputs % u == 0):
        for columns in range(1, min(width, 14) + 1):
            longest = max(runs(width, columns))
            if many * longest + longest + kernel > registers() and (many, longest) != (1, 1):
                continue
            made = many * longest * kernel
            loads = longest + kernel - 1 + kernel * many
            # Two loads and two multiply-adds can start in a cycle, and each takes four.
            waits = 8 / min(many * longest, 8)
            best = max(best, (1 / max(loads / made, waits), many, longest))
    return best[1:]


def largest_part(outputs: int, limit: int) -> int:
    """The largest divisor of a number up to a limit."""
    return max(u for u in range(1, limit + 1) if outputs % u == 0)


def met_forward(conv: Conv) -> Meetings:
    """Which columns of the source a column of the result meets."""
    width, columns = conv.source.map.width, conv.kernel[1]
    return [
        [
            (x * conv.stride + k - conv.padding[1], k)
            for k in range(columns)
            if 0 <= x * conv.stride + k - conv.padding[1] < width
        ]
        for x in range(conv.out.width)
    ]


def met_backward(conv: Conv) -> Meetings:
    """Which columns of the result a column of the source meets."""
    met: Meetings = [[] for _ in range(conv.source.map.width)]
    for x, pairs in enumerate(met_forward(conv)):
        for column, k in pairs:
            met[column].append((x, k))
    # In the order of the kernel from its end: from left to right in the map.
    return [sorted(pairs) for pairs in met]


class Nest:
    """Rows of a convolution's result or of its source's gradient.

    Args:
        writer: Of the function.
        conv: Which.
        is_gradient: Of the source.
    """

    def __init__(self, writer: LaneWriter, conv: Conv, *, is_gradient: bool) -> None:
        self.writer, self.conv, self.is_gradient = writer, conv, is_gradient
        source, out = conv.source.map, conv.out
        self.read, self.made = (out, source) if is_gradient else (source, out)
        self.meetings = met_backward(conv) if is_gradient else met_forward(conv)
        self.outputs, self.columns = tile(self.made.channels, self.made.width, conv.kernel[1])
        taps = conv.kernel[0] * conv.kernel[1]
        own, other = source.channels * taps, taps
        self.made_stride, self.read_stride = (other, own) if is_gradient else (own, other)
        self.weights = writer.place(writer.array("p"), conv.weight)

    def rows_met(self, row):
        """Bounds of the loop over rows: of the kernel forward, of the result for a gradient."""
        w, conv = self.writer, self.conv
        rows, padding, stride = conv.kernel[0], conv.padding[0], conv.stride
        if self.is_gradient:
            last = w.index(row, padding)
            if stride == 1:
                low, high = w.index(last, 1 - rows), w.index(last, 1)
            else:
                # Rounded up and down; padding and rows keep the dividend above -stride * rows.
                b = w.builder
                low = b.sdiv(w.index(last, stride * rows - rows + stride), const(stride))
                low, high = w.index(low, -rows), w.index(b.sdiv(last, const(stride)), 1)
            return w.clamp(low, 0, self.read.height), w.clamp(high, 0, self.read.height)
        first = w.index((row, stride), -padding)
        low = w.builder.sub(const(0), first)
        high = w.builder.sub(const(self.read.height), first)
        return w.clamp(low, 0, rows), w.clamp(high, 0, rows)

    def row_and_tap(self, row, i):
        """The row that is read and the kernel's row, in turn i of that loop."""
        w, conv = self.writer, self.conv
        if self.is_gradient:
            tap = w.builder.sub(w.index(row, conv.padding[0]), w.index((i, conv.stride)))
            return i, tap
        return w.index((row, conv.stride), i, -conv.padding[0]), i

    @property
    def meets_all_rows(self) -> bool:
        """Whether every row of the kernel meets the map, for every row that is made."""
        return not self.is_gradient and not self.conv.padding[0]

    def row(self, row, first_output, pixels, emit: Callable) -> None:
        """`emit(row, channel, x, values)` for the runs of one row, from an output channel on."""
        w, x = self.writer, 0
        for length in runs(self.made.width, self.columns):
            sums = w.variables(self.outputs * length)
            with w.each(0, self.read.channels) as channel:
                if self.meets_all_rows:
                    for tap in range(self.conv.kernel[0]):
                        self._row_of_kernel(row, const(tap), channel, first_output, x, length, pixels, sums)
                else:
                    with w.each(*self.rows_met(row)) as i:
                        self._row_of_kernel(row, i, channel, first_output, x, length, pixels, sums)
            for output in range(self.outputs):
                values = [w.value(v) for v in sums[output * length : (output + 1) * length]]
                emit(row, w.index(first_output, output), x, values)
            x += length

    def _row_of_kernel(self, row, i, channel, first_output, x, length, pixels, sums) -> None:
        w, columns = self.writer, self.conv.kernel[1]
        at, tap = self.row_and_tap(row, i)
        line = w.index((at, self.read.channels * self.read.width), (channel, self.read.width))
        weights = w.index(
            (first_output, self.made_stride), (channel, self.read_stride), (tap, columns)
        )
        met = self.meetings[x : x + length]
        loaded = {c: w.get(pixels, line, c) for c in sorted({c for pairs in met for c, _ in pairs})}
        of_tap = [{k: c for c, k in pairs} for pairs in met]
        order = range(columns - 1, -1, -1) if self.is_gradient else range(columns)
        for k in order:
            if not any(k in pairs for pairs in of_tap):
                continue
            for output in range(self.outputs):
                weight = w.get(self.weights, weights, output * self.made_stride + k)
                for t, pairs in enumerate(of_tap):
                    if k in pairs:
                        w.accumulate(sums[output * length + t], loaded[pairs[k]], weight)


def add_weight_gradient(w: LaneWriter, conv: Conv, rows, pixels, gradients) -> None:
    """Add what some rows of the result's gradient give to the gradient of the weights.

    Args:
        w: Of the function.
        conv: Which.
        rows: First row, and the one behind the last: one chain of additions.
        pixels: The source's view.
        gradients: The gradient of the result.
    """
    source, out = conv.source.map, conv.out
    (height, columns), padding = conv.kernel, conv.padding[0]
    outputs = largest_part(out.channels, max(1, min(8, (registers() - 4) // columns)))
    meetings, taps = met_forward(conv), height * columns
    weights = w.place(w.array("d"), conv.weight)
    with w.each(0, out.channels // outputs) as part:
        first = w.index((part, outputs))
        with w.each(0, source.channels) as channel, w.each(0, height) as tap:
            sums = w.variables(outputs * columns)
            begin, end = rows
            if padding:  # rows of the result whose window's row lies in the map
                low = w.index(w.builder.sub(const(padding), tap), conv.stride - 1)
                high = w.index(w.builder.sub(const(source.height + padding), tap), conv.stride - 1)
                if conv.stride > 1:
                    low, high = (w.builder.sdiv(v, const(conv.stride)) for v in (low, high))
                b = w.builder
                low, high = w.index(low), w.index(high)
                begin = b.select(b.icmp_signed("<", low, begin), begin, low)
                end = b.select(b.icmp_signed("<", high, end), high, end)
            with w.each(begin, end) as row:
                at = w.index((row, conv.stride), tap, -padding)
                line = w.index((at, source.channels * source.width), (channel, source.width))
                of_result = w.index((row, out.channels * out.width), (first, out.width))
                loaded: dict = {}
                for x, pairs in enumerate(meetings):
                    for column, _ in pairs:
                        if column not in loaded:
                            loaded[column] = w.get(pixels, line, column)
                    for output in range(outputs):
                        g = w.get(gradients, of_result, output * out.width + x)
                        for column, k in pairs:
                            w.accumulate(sums[output * columns + k], g, loaded[column])
            where = w.index((first, source.channels * taps), (channel, taps), (tap, columns))
            for output in range(outputs):
                for k in range(columns):
                    at = output * source.channels * taps + k
                    total = w.add(w.get(weights, where, at), w.value(sums[output * columns + k]))
                    w.put(total, weights, where, at)


def forward(w: LaneWriter, conv: Conv, slots: Slots) -> None:
    """The function of a convolution."""
    nest = Nest(w, conv, is_gradient=False)
    source_map, out_map = conv.source.map, conv.out
    with w.each(0, w.count("count")) as image:
        source = Reader(w, "a", conv.source, slots, image)
        out = Writer(w, "o", out_map, slots, image)
        out.begin()
        pixels = source.y if conv.source.is_plain else w.array("scratch0")

        def emit(row, channel, x, values, out=out):
            bias = None if conv.bias is None else w.get(w.array("p"), conv.bias, channel)
            out.emit(row, channel, x, values, bias)

        def outputs(row, pixels=pixels):
            with w.each(0, out_map.channels // nest.outputs) as part:
                nest.row(row, w.index((part, nest.outputs)), pixels, emit)

        if by_rows(conv):
            reach = conv.kernel[0] - conv.padding[0]
            with w.each(0, out_map.height) as row:
                if not conv.source.is_plain:  # the rows that this one is the first to meet
                    b = w.builder
                    low = w.clamp(w.index((row, conv.stride), reach - conv.stride), 0, source_map.height)
                    low = b.select(w.is_equal(row, 0), const(0), low)
                    high = w.clamp(w.index((row, conv.stride), reach), 0, source_map.height)
                    with w.each(low, high) as met:
                        source.row(met, pixels)
                outputs(row)
        else:
            if not conv.source.is_plain:
                with w.each(0, source_map.height) as row:
                    source.row(row, pixels)
            with w.each(0, out_map.channels // nest.outputs) as part:
                with w.each(0, out_map.height) as row:
                    nest.row(row, w.index((part, nest.outputs)), pixels, emit)


def backward(w: LaneWriter, conv: Conv, slots: Slots, *, has_raw: bool) -> None:
    """The function of its gradients: of the weights, and of what it reads unless that are images."""
    source_map, out_map = conv.source.map, conv.out
    is_last = not source_map.number
    nest = None if is_last else Nest(w, conv, is_gradient=True)
    last_image = w.index(w.count("count"), -1)
    with w.each(0, w.count("count")) as turn:
        image = w.builder.sub(last_image, turn)
        source = Reader(w, "a", conv.source, slots, image)
        out = Writer(w, "o", out_map, slots, image)
        out.has_raw = has_raw
        gradients = w.array("scratch1")
        pixels = source.y if conv.source.is_plain else w.array("scratch0")
        bias = None if conv.bias is None else w.place(w.array("d"), conv.bias)
        if nest:
            source.begin_back()

        def emit(row, channel, x, values, source=source, pixels=pixels):
            offset = source.offset(row, channel, x)
            source.back(row, channel, const(x), values, lambda i: w.get(pixels, offset, i))

        if not by_rows(conv):
            with w.each(0, out_map.height) as row:
                out.gradient_row(row, gradients, bias)
            if not conv.source.is_plain:
                with w.each(0, source_map.height) as row:
                    source.row(row, pixels)
            add_weight_gradient(w, conv, (const(0), const(out_map.height)), pixels, gradients)
            if nest:
                with w.each(0, source_map.channels // nest.outputs) as part:
                    with w.each(0, source_map.height) as row:
                        nest.row(row, w.index((part, nest.outputs)), gradients, emit)
        else:
            reach = conv.kernel[0] - conv.padding[0]
            with w.each(0, out_map.height) as down:
                row, b = w.builder.sub(const(out_map.height - 1), down), w.builder
                out.gradient_row(row, gradients, bias)
                # Rows of the source that no earlier row of the result meets: they are complete.
                low = w.clamp(w.index((row, conv.stride), reach - conv.stride), 0, source_map.height)
                low = b.select(w.is_equal(row, 0), const(0), low)
                high = w.clamp(w.index((row, conv.stride), reach), 0, source_map.height)
                high = b.select(w.is_equal(down, 0), const(source_map.height), high)
                if not conv.source.is_plain:
                    # The weights' gradient meets rows from `first` on; the later ones are there.
                    # Where the stride leaves rows out, no later row than those completed here.
                    begin = min(0, conv.kernel[0] - conv.stride) - conv.padding[0]
                    first = w.clamp(w.index((row, conv.stride), begin), 0, source_map.height)
                    until = w.clamp(
                        w.index((row, conv.stride), begin + conv.stride), 0, source_map.height
                    )
                    until = b.select(w.is_equal(down, 0), const(source_map.height), until)
                    first = b.select(w.is_equal(row, 0), const(0), first)
                    with w.each(first, until) as met:
                        source.row(met, pixels)
                add_weight_gradient(w, conv, (row, w.index(row, 1)), pixels, gradients)
                if nest:
                    with w.each(low, high) as made, w.each(0, source_map.channels // nest.outputs) as part:
                        nest.row(made, w.index((part, nest.outputs)), gradients, emit)
