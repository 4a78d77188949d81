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
from dataclasses import dataclass
from typing import NamedTuple

from llvmlite import ir

from normlab.native import compiled
from normlab.native.emitter import I64, const
from normlab.train.lanes.graph import Conv, Map
from normlab.train.lanes.memory import Slots, by_rows
from normlab.train.lanes.views import Reader, Writer
from normlab.train.lanes.writer import LaneWriter

Meetings = list[list[tuple[int, int]]]
"""For each column of what is made: the columns of what is read, each with its kernel column."""


_LINE = 64
"""Bytes of a cache's line."""


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
            # Two multiply-adds can start in a cycle and each takes four: eight must be under way.
            waits = 8 / min(many * longest, 8)
            best = max(best, (made / loads / waits, many, longest))
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


class Fetch:
    """Asks for memory that is wanted soon, a few lines in every turn of an inner loop.

    The maps of all lanes come from main memory; so they do while the core multiplies.

    Args:
        writer: Of the function.
        turns: How many there will be.
        areas: Address and number of vectors of each.
    """

    def __init__(self, writer: LaneWriter, turns: int, areas: list) -> None:
        self.writer = w = writer
        size = 4 * w.lanes
        bytes_ = ir.IntType(8).as_pointer()
        self.areas = []
        for address, vectors in areas:
            lines = -(-vectors * size // _LINE)
            self.areas.append((w.builder.bitcast(address, bytes_), -(-lines // turns)))
        if areas:
            with w.builder.goto_entry_block():
                self.turn = w.builder.alloca(I64)
            w.builder.store(const(0), self.turn)

    def __call__(self) -> None:
        """The lines of one turn."""
        if not self.areas:
            return
        w = self.writer
        turn = w.builder.load(self.turn)
        for address, lines in self.areas:
            for line in range(lines):
                w.prefetch(w.place(address, (turn, lines * _LINE), line * _LINE))
        w.builder.store(w.index(turn, 1), self.turn)


class _Tile(NamedTuple):
    """What is in registers: outputs from `first_output` on, `length` columns from `x` on."""

    first_output: object
    channel: object
    x: int
    length: int
    sums: list


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

    @property
    def turns(self) -> int:
        """Turns of the inner loop for one row of all outputs."""
        parts = self.made.channels // self.outputs
        return parts * len(runs(self.made.width, self.columns)) * self.read.channels

    def all_outputs(self, row, pixels, emit: Callable, fetch: Fetch) -> None:
        """One row of every output."""
        with self.writer.each(0, self.made.channels // self.outputs) as part:
            self.row(row, self.writer.index((part, self.outputs)), pixels, emit, fetch)

    def whole(self, pixels, emit: Callable, fetch: Fetch) -> None:
        """All rows, with the outputs in the outer loop."""
        w = self.writer
        with w.each(0, self.made.channels // self.outputs) as part:
            first = w.index((part, self.outputs))
            with w.each(0, self.made.height) as row:
                self.row(row, first, pixels, emit, fetch)

    def row(self, row, first_output, pixels, emit: Callable, fetch: Fetch) -> None:
        """`emit(row, channel, x, values)` for the runs of one row, from an output channel on."""
        w, x = self.writer, 0
        for length in runs(self.made.width, self.columns):
            sums = w.variables(self.outputs * length)
            with w.each(0, self.read.channels) as channel:
                fetch()
                part = _Tile(first_output, channel, x, length, sums)
                if self.meets_all_rows:
                    for tap in range(self.conv.kernel[0]):
                        self._row_of_kernel(row, const(tap), pixels, part)
                else:
                    with w.each(*self.rows_met(row)) as i:
                        self._row_of_kernel(row, i, pixels, part)
            for output in range(self.outputs):
                values = [w.value(v) for v in sums[output * length : (output + 1) * length]]
                emit(row, w.index(first_output, output), x, values)
            x += length

    def _row_of_kernel(self, row, i, pixels, part: _Tile) -> None:
        first_output, channel, x, length, sums = part
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


def remake(w: LaneWriter, conv: Conv, row, images, store: Callable) -> None:
    """One row of a convolution of the images, without its sums."""
    Nest(w, conv, is_gradient=False).all_outputs(row, images, store, Fetch(w, 1, []))


def weight_outputs(conv: Conv) -> int:
    """Outputs whose weights' gradient is kept in registers, for one channel and kernel row."""
    return largest_part(conv.out.channels, max(1, min(8, (registers() - 4) // conv.kernel[1])))


def weight_turns(conv: Conv) -> int:
    """Turns of the loops of `add_weight_gradient`."""
    parts = conv.out.channels // weight_outputs(conv)
    return parts * conv.source.map.channels * conv.kernel[0]


def add_weight_gradient(w: LaneWriter, conv: Conv, rows, pixels, gradients, *, fetch) -> None:
    """Add what some rows of the result's gradient give to the gradient of the weights.

    Args:
        w: Of the function.
        conv: Which.
        rows: First row, and the one behind the last: one chain of additions.
        pixels: The source's view.
        gradients: The gradient of the result.
        fetch: What to fetch meanwhile.
    """
    source, out = conv.source.map, conv.out
    (height, columns), padding = conv.kernel, conv.padding[0]
    outputs = weight_outputs(conv)
    meetings, taps = met_forward(conv), height * columns
    weights = w.place(w.array("d"), conv.weight)
    with w.each(0, out.channels // outputs) as part:
        first = w.index((part, outputs))
        with w.each(0, source.channels) as channel, w.each(0, height) as tap:
            fetch()
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


def forward(w: LaneWriter, conv: Conv, slots: Slots, beside: Map | None) -> None:
    """The function of a convolution; `beside` is the map that is read before the next image."""
    nest = Nest(w, conv, is_gradient=False)
    with w.images() as image:
        source = Reader(w, "a", conv.source, slots, image)
        out = Writer(w, "o", conv.out, slots, image)
        out.begin()
        pixels = source.y if conv.source.is_plain else w.array("scratch0")
        if beside:
            following = w.place(w.array("b_y"), (image, beside.size), beside.size)

        def emit(row, channel, x, values):
            bias = None if conv.bias is None else w.get(w.array("p"), conv.bias, channel)
            out.emit(row, channel, x, values, bias)

        if by_rows(conv):
            line = source.map.channels * source.map.width
            with w.each(0, conv.out.height) as row:
                low, high = _rows_completed(w, conv, row)
                if not conv.source.is_plain:
                    with w.each(low, high) as met:
                        source.row(met, pixels)
                areas = [(w.place(source.y, (high, line)), conv.stride * line)]
                if source.remade:
                    areas = []
                if beside:
                    share = -(-beside.size // conv.out.height)
                    areas = [(w.place(following, (row, share)), share)]
                fetch = Fetch(w, nest.turns, areas)
                nest.all_outputs(row, pixels, emit, fetch)
        else:
            source.rows(pixels)
            areas = [(w.place(source.y, source.map.size), source.map.size)]
            if beside:
                areas = [(following, beside.size)]
            nest.whole(pixels, emit, Fetch(w, nest.turns * conv.out.height, areas))


def _rows_completed(w: LaneWriter, conv: Conv, row):
    """Rows of the source that this row of the result meets, or skips, and no earlier one does."""
    height, reach = conv.source.map.height, conv.kernel[0] - conv.padding[0]
    low = w.clamp(w.index((row, conv.stride), reach - conv.stride), 0, height)
    low = w.builder.select(w.is_equal(row, 0), const(0), low)
    return low, w.clamp(w.index((row, conv.stride), reach), 0, height)


def backward(w: LaneWriter, conv: Conv, slots: Slots, beside: Map | None, *, has_raw: bool) -> None:
    """The function of its gradients: of the weights, and of what it reads unless that are images.

    `beside` is the map that the image's next operation reads.
    """
    nest = Nest(w, conv, is_gradient=True) if conv.source.map.number else None
    with w.images(backwards=True) as image:
        source = Reader(w, "a", conv.source, slots, image)
        out = Writer(w, "o", conv.out, slots, image)
        out.has_raw = has_raw
        if nest:
            source.begin_back()
        back = _Back(w, conv, nest, source, out, beside)
        if by_rows(conv):
            back.by_rows()
        else:
            back.whole()


@dataclass
class _Back:
    """The gradients of one image."""

    w: LaneWriter
    conv: Conv
    nest: Nest | None
    source: Reader
    out: Writer
    beside: Map | None

    def __post_init__(self) -> None:
        w, conv = self.w, self.conv
        self.gradients = w.array("scratch1")
        self.pixels = self.source.y if conv.source.is_plain else w.array("scratch0")
        self.bias = None if conv.bias is None else w.place(w.array("d"), conv.bias)

    def emit(self, row, channel, x: int, values) -> None:
        """Take finished values of the source's gradient through its view."""
        offset = self.source.offset(row, channel, x)

        def view(i):
            return self.w.get(self.pixels, offset, i)

        self.source.back(row, channel, const(x), values, view)

    def fetch(self, areas: list, rows: int) -> Fetch:
        """Fetch what the image before this one, or the next operation, will read."""
        turns = weight_turns(self.conv) + (self.nest.turns * rows if self.nest else 0)
        return Fetch(self.w, turns, areas)

    def whole(self) -> None:
        """Each step for all rows."""
        w, source, out = self.w, self.source, self.out
        with w.each(0, out.map.height) as row:
            out.gradient_row(row, self.gradients, self.bias)
        source.rows(self.pixels)
        areas = [(w.place(side.y, -side.map.size), side.map.size) for side in (source, out)]
        areas.append((w.place(out.g, -out.slots.stride(out.map)), out.map.size))
        if self.beside:
            size = self.beside.size
            areas = [(w.place(w.array("b_y"), (source.image, size)), size)]
        fetch, rows = self.fetch(areas, source.map.height), (const(0), const(out.map.height))
        add_weight_gradient(w, self.conv, rows, self.pixels, self.gradients, fetch=fetch)
        if self.nest:
            self.nest.whole(self.gradients, self.emit, fetch)

    def by_rows(self) -> None:
        """From the last row to the first, so that the gradient may overwrite what it is made of."""
        w, b, conv, source, out = self.w, self.w.builder, self.conv, self.source, self.out
        height = source.map.height
        with w.each(0, out.map.height) as down:
            row = b.sub(const(out.map.height - 1), down)
            out.gradient_row(row, self.gradients, self.bias)
            # What no earlier row of the result meets is complete with this one.
            low, high = _rows_completed(w, conv, row)
            high = b.select(w.is_equal(down, 0), const(height), high)
            # Where the stride leaves rows out, the view is wanted of no later row than completed.
            begin = min(0, conv.kernel[0] - conv.stride) - conv.padding[0]
            first = w.clamp(w.index((row, conv.stride), begin), 0, height)
            first = b.select(w.is_equal(row, 0), const(0), first)
            until = w.clamp(w.index((row, conv.stride), begin + conv.stride), 0, height)
            until = b.select(w.is_equal(down, 0), const(height), until)
            if not conv.source.is_plain:
                with w.each(first, until) as met:
                    source.row(met, self.pixels)
            fetch = self.fetch(self.row_before(row, down, first), 1)
            rows = row, w.index(row, 1)
            add_weight_gradient(w, conv, rows, self.pixels, self.gradients, fetch=fetch)
            if self.nest:
                with w.each(low, high) as made:
                    self.nest.all_outputs(made, self.gradients, self.emit, fetch)

    def row_before(self, row, down, first) -> list:
        """What the row before this one will read."""
        w, conv, source, out = self.w, self.conv, self.source, self.out
        line, line_out = (side.map.channels * side.map.width for side in (source, out))
        # Before row 0 comes the last one of the image before.
        over = w.index((row, line_out), -line_out)
        gap = out.slots.stride(out.map) - out.map.size
        g = w.builder.select(w.is_equal(row, 0), w.index(over, -gap), over)
        areas = [(w.place(out.g, g), line_out)]
        if not out.remade:
            areas.append((w.place(out.y, over), line_out))
        if not source.remade:
            before = w.place(source.y, (first, line), -conv.stride * line)
            areas.append((before, conv.stride * line))
        if self.beside:
            share = -(-self.beside.size // out.map.height)
            wanted = w.place(w.array("b_y"), (source.image, self.beside.size), (down, share))
            areas.append((wanted, share))
        return areas
