"""How code reads a map through its view, writes one, and takes gradients back through both.

For map y, with center m, scale a and shift b per channel (and image, where the norm's statistics
are an image's own), and factor f of the dropout in each lane:

    view       z = f * kept * relu((y - m) * a + b)
    back       g = gradient at the affine result = kept * f * [z > 0] * dz, stored, and summed up:
               sum of g, sum of g * (y - m); from these sums the norm's backward has A, B, D
    gradient   dy = A * g + B * (y - m) + D   (+ that of raw readers)   (* [y > 0] behind a ReLU)

Sums run along the rows of an image in one order, whatever the tiles.
"""

# mypy: ignore-errors

from __future__ import annotations

from normlab.native.emitter import const
from normlab.train.lanes.graph import Map, Read
from normlab.train.lanes.memory import LARGE, Slots
from normlab.train.lanes.writer import LaneWriter

_RUN = 4
"""Pixels that one turn of a loop over a row does."""


class Side:
    """One map at one image, as an argument of a function.

    Args:
        writer: Of the function.
        name: Of the argument: a, b or o.
        map: Which.
        slots: Where its gradients lie.
        image: Number of the image.
    """

    def __init__(self, writer: LaneWriter, name: str, stored: Map, slots: Slots, image) -> None:
        self.writer, self.map, self.slots, self.image = writer, stored, slots, image
        w = writer

        def at(part, stride):
            return w.place(w.array(f"{name}_{part}"), (image, stride))

        self.remade = slots.remade.get(stored.number)
        if self.remade:
            self.y = w.array("scratch2")
            self.of_images = w.place(w.array("images"), (image, self.remade.source.map.size))
        else:
            self.y = at("y", stored.size)
        if stored.norm:
            own = slots.of_image(stored)
            self.sums = at("sums", 3 * stored.channels)
            self.pivots = self.sums if own else w.array(f"{name}_sums")
            self.gsums = at("gsums", 2 * stored.channels)
            self.coefs = at("coefs", 3 * stored.channels * own)
            self.dcoefs = at("dcoefs", 3 * stored.channels * own)
        if stored.mask:
            each = {"element": stored.size, "map": stored.channels, "image": 1}[stored.mask.unit]
            self.bits = w.place(w.bits(f"{name}_bits"), (image, each))
            self.factor = w.get(w.array(f"{name}_scale"))
        self.g = at("g", slots.stride(stored))
        self.raw = at("raw", stored.size)

    def remake(self, row) -> None:
        """Compute a row again, where the map is not stored."""
        if self.remade:
            from normlab.train.lanes.convolution import remake

            remake(self.writer, self.remade, row, self.of_images, self.store)

    def rectified(self, values):
        """What is stored of results."""
        return [self.writer.relu(v) for v in values] if self.map.rectified else values

    def store(self, row, channel, x: int, values) -> None:
        """Put neighbouring values where they belong."""
        for i, value in enumerate(self.rectified(values)):
            self.writer.put(value, self.y, self.offset(row, channel, x), i)

    def offset(self, row, channel, x=0):
        """Where a pixel is within an image."""
        return self.writer.index(
            (row, self.map.channels * self.map.width), (channel, self.map.width), x
        )

    def kept(self, row, channel, offset, x):
        """Which lanes keep a value."""
        unit = self.map.mask.unit
        if unit == "element":
            return self.writer.kept(self.bits, offset, x)
        return self.writer.kept(self.bits, channel if unit == "map" else const(0))

    def center(self, channel):
        """What the norm takes away first."""
        return self.writer.get(self.coefs, (channel, 3))


class Reader(Side):
    """A map as an operation reads it."""

    def __init__(self, writer: LaneWriter, name: str, read: Read, slots: Slots, image) -> None:
        super().__init__(writer, name, read.map, slots, image)
        self.read = read

    is_far = False
    """Whether the gradient is read only after much else, from main memory."""

    def affine(self, channel):
        """Center, scale and shift of a channel; None without a norm."""
        if self.read.raw or not self.map.norm:
            return None
        return [self.writer.get(self.coefs, (channel, 3), i) for i in range(3)]

    def value(self, row, channel, offset, x, affine):
        """The view of a pixel `x` behind an offset."""
        w, z = self.writer, self.writer.get(self.y, offset, x)
        if affine:
            z = w.fma(w.subtract(z, affine[0]), affine[1], affine[2])
        if self.read.raw:
            return z
        if self.map.relu:
            z = w.relu(z)
        if self.map.mask:
            kept = self.kept(row, channel, offset, x)
            z = w.choose(kept, w.multiply(z, self.factor), w.zero)
        return z

    def row(self, row, scratch) -> None:
        """Put a row of the view where the map has it."""
        w, width = self.writer, self.map.width
        self.remake(row)
        with w.each(0, self.map.channels) as channel:
            affine, offset = self.affine(channel), self.offset(row, channel)
            in_runs(
                w,
                width,
                lambda x: w.put(
                    self.value(row, channel, w.index(offset, x), 0, affine), scratch, offset, x
                ),
            )

    def rows(self, scratch) -> None:
        """All rows; nothing where the map is read as it is stored."""
        if not self.read.is_plain:
            with self.writer.each(0, self.map.height) as row:
                self.row(row, scratch)

    def begin_back(self) -> None:
        """Before an image's gradient: its sums are 0, unless another reader began them."""
        if self.map.norm and not self.read.raw and self.read.is_first:
            with self.writer.each(0, 2 * self.map.channels) as i:
                self.writer.put(self.writer.zero, self.gsums, i)

    def back(self, row, channel, x, gradients, views) -> None:
        """Take gradients of neighbouring pixels, from `x` on, back to the affine result.

        Args:
            row: Of the pixels.
            channel: Likewise.
            x: Column of the first.
            gradients: At the view.
            views: `views(i)` is the view's value at pixel i.
        """
        w, offset = self.writer, self.offset(row, channel, x)
        into = self.raw if self.read.raw and self.map.norm else self.g
        normed = self.map.norm and not self.read.raw
        if normed:
            center = self.center(channel)
            total, product = (w.get(self.gsums, (channel, 2), i) for i in range(2))
        for i, given in enumerate(gradients):
            g = given if self.read.raw else self._through(given, row, channel, (offset, i), views)
            if normed:
                total = w.add(total, g)
                distance = w.subtract(w.get(self.y, offset, i), center)
                product = w.fma(g, distance, product)
            before = None if self.read.is_first else w.get(into, offset, i)
            w.put(
                g if before is None else w.add(g, before), into, offset, i, past_caches=self.is_far
            )
        if normed:
            w.put(total, self.gsums, (channel, 2))
            w.put(product, self.gsums, (channel, 2), 1)

    def _through(self, g, row, channel, at, views):
        """A pixel's gradient behind dropout and activation."""
        w = self.writer
        if self.map.mask:
            g = w.choose(self.kept(row, channel, *at), w.multiply(g, self.factor), w.zero)
        if self.map.relu:
            g = w.choose(w.is_above(views(at[1]), w.zero), g, w.zero)
        return g


class Writer(Side):
    """The map that an operation writes."""

    def begin(self) -> None:
        """Before an image: its sums are 0."""
        if self.map.norm:
            with self.writer.each(0, self.map.channels) as channel:
                for i in (1, 2):
                    self.writer.put(self.writer.zero, self.sums, (channel, 3), i)

    def emit(self, row, channel, x: int, values, bias=None) -> None:
        """Store neighbouring pixels of a row, from column `x` on, and add them to the sums.

        The sums are about the first value in the channel, of the image or, where images share their
        statistics, of the first one: it cannot be far from the mean, and a difference of squares of
        the values themselves would lose a small variance. Each row is summed up by itself: behind a
        ReLU most values are the same, and one long sum of them would round to one side each time.
        """
        w, offset = self.writer, self.offset(row, channel, x)
        if bias is not None:
            values = [w.add(v, bias) for v in values]
        values = self.rectified(values)
        # Behind a norm of batches a map is read when all images are made: not from the caches.
        past_caches = self.map.norm is not None and self.map.size >= LARGE
        for i, v in enumerate(values):
            if not self.remade:
                w.put(v, self.y, offset, i, past_caches=past_caches)
        if not self.map.norm:
            return
        rows = w.array("scratch3")  # of each channel, sums over the row so far
        total, square = (w.get(rows, (channel, 2), i) if x else w.zero for i in (0, 1))
        pivot = w.get(self.pivots, (channel, 3))
        if x == 0:
            is_first = w.is_equal(row, 0)
            if not self.slots.of_image(self.map):
                is_first = w.builder.and_(is_first, w.is_equal(self.image, 0))
            pivot = w.builder.select(is_first, values[0], pivot)
            w.put(pivot, self.pivots, (channel, 3))
        for v in values:
            distance = w.subtract(v, pivot)
            total, square = w.add(total, distance), w.fma(distance, distance, square)
        for i, part in enumerate((total, square)):
            if x + len(values) < self.map.width:
                w.put(part, rows, (channel, 2), i)
            else:
                whole = w.add(w.get(self.sums, (channel, 3), i + 1), part)
                w.put(whole, self.sums, (channel, 3), i + 1)

    def gradient_row(self, row, scratch, bias=None) -> None:
        """Put a row of the map's gradient where the map has it; add it up for a bias."""
        w, stored = self.writer, self.map
        self.remake(row)
        with w.each(0, stored.channels) as channel:
            offset = self.offset(row, channel)
            factors = (
                [w.get(self.dcoefs, (channel, 3), i) for i in range(3)] if stored.norm else None
            )
            center = self.center(channel) if stored.norm else None
            total = None
            if bias is not None:
                (total,) = w.variables(1)
                w.builder.store(w.get(bias, channel), total)

            def one(x, offset=offset, factors=factors, center=center, total=total):
                g = w.get(self.g, offset, x)
                y = w.get(self.y, offset, x) if factors or stored.rectified else None
                if factors:
                    a, b, d = factors
                    g = w.fma(a, g, w.fma(b, w.subtract(y, center), d))
                    if self.has_raw:
                        g = w.add(g, w.get(self.raw, offset, x))
                if stored.rectified:
                    g = w.choose(w.is_above(y, w.zero), g, w.zero)
                if total is not None:
                    w.builder.store(w.add(w.value(total), g), total)
                w.put(g, scratch, offset, x)

            in_runs(w, stored.width, one)
            if total is not None:
                w.put(w.value(total), bias, channel)

    has_raw = False
    """Whether the map also has readers that take it without its norm."""


def in_runs(w: LaneWriter, width: int, one) -> None:
    """`one(x)` for every pixel of a row, several in a turn."""
    full = width // _RUN * _RUN if width >= 2 * _RUN else 0
    if full:
        with w.each(0, full // _RUN) as run:
            for i in range(_RUN):
                one(w.index((run, _RUN), i))
    for x in range(full, width):
        one(const(x))
