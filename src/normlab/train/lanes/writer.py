"""Writes functions whose every operation is done for a whole vector of trials, one in each lane.

An array is addressed in vectors: position i holds value i of all trials. Nothing here looks across
lanes, so a trial's bits hang on its own numbers alone, and a NaN stays where it is.
"""

# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from normlab.native.emitter import F32, I32, I64, Emitter, const

_PARTS = ("y", "sums", "coefs", "dcoefs", "bits", "scale", "g", "raw", "gsums")
ARGUMENTS = (
    *("first", "last", "p", "d", "extra", "images"),
    *("scratch0", "scratch1", "scratch2", "scratch3"),
    *(f"{role}_{part}" for role in "abo" for part in _PARTS),
)
"""What every function is given: the first of the images it is for and the one behind the last, then
addresses. `p` are the parameters and `d` their gradients; a and b are the maps that an operation
reads, o is the one it writes; see `memory`."""

LOG2_E, LN2_HIGH, LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_ROUND = 12582912.0  # 1.5 * 2^23: what is added to it loses its fraction


class LaneWriter(Emitter):
    """A function in the making, for a number of lanes."""

    def __init__(self, name: str, lanes: int) -> None:
        super().__init__(name)
        self.lanes = lanes
        self.vector = ir.VectorType(F32, lanes)
        self.integers = ir.VectorType(I32, lanes)
        self.zero = self.constant(0.0, lanes)
        self._arguments: dict = {}
        self._prefetch = None

    def array(self, name: str):
        """An argument that is the address of vectors."""
        return self.once(name, self.vector.as_pointer())

    def count(self, name: str):
        """An argument that is a number."""
        return self.once(name, I64)

    def once(self, name: str, kind):
        """An argument, read at the function's beginning: within a loop it would be read again."""
        if (name, kind) not in self._arguments:
            with self.builder.goto_entry_block():
                found = self.argument(ARGUMENTS.index(name))
                found = found if kind == I64 else self.builder.inttoptr(found, kind)
            self._arguments[name, kind] = found
        return self._arguments[name, kind]

    # Addresses: sums of numbers, values and (value, stride).

    def index(self, *terms):
        """The sum of terms, an int64."""
        total, rest = None, 0
        for term in terms:
            value, stride = term if isinstance(term, tuple) else (term, 1)
            if isinstance(value, int):
                rest += value * stride
                continue
            value = self.times(value, stride)
            total = value if total is None else self.builder.add(total, value)
        if total is None:
            return const(rest)
        return self.builder.add(total, const(rest)) if rest else total

    def place(self, pointer, *terms):
        """The address so many elements on."""
        return self.builder.gep(pointer, [self.index(*terms)])

    def get(self, pointer, *terms):
        """A vector from memory."""
        return self.builder.load(self.place(pointer, *terms), align=4 * self.lanes)

    def put(self, value, pointer, *terms, past_caches: bool = False) -> None:
        """A vector to memory; past the caches, where it is read only after much else."""
        stored = self.builder.store(value, self.place(pointer, *terms), align=4 * self.lanes)
        if past_caches:
            mark = self.module.add_metadata([ir.Constant(I32, 1)])
            stored.set_metadata("nontemporal", mark)

    def images(self, *, backwards: bool = False):
        """A loop over the images, as `each`."""
        return (
            self._backwards() if backwards else self.each(self.count("first"), self.count("last"))
        )

    @contextmanager
    def _backwards(self) -> Iterator:
        end = self.index(self.count("first"), self.count("last"), -1)
        with self.each(self.count("first"), self.count("last")) as i:
            yield self.builder.sub(end, i)

    def prefetch(self, address) -> None:
        """Ask for a line of memory, to be in the second cache."""
        if self._prefetch is None:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), I32, I32, I32])
            self._prefetch = ir.Function(self.module, kind, "llvm.prefetch.p0")
        self.builder.call(self._prefetch, [address, *(ir.Constant(I32, v) for v in (0, 2, 1))])

    def bits(self, name: str):
        """An argument that is the address of one bit per lane and element."""
        return self.once(name, ir.IntType(max(self.lanes, 8)).as_pointer())

    def kept(self, pointer, *terms):
        """Which lanes have their bit set."""
        b = self.builder
        found = b.load(self.place(pointer, *terms))
        if self.lanes < 8:
            found = b.trunc(found, ir.IntType(self.lanes))
        return b.bitcast(found, ir.VectorType(ir.IntType(1), self.lanes))

    @contextmanager
    def each(self, start, stop) -> Iterator:
        """A loop over start <= i < stop, which may be empty."""
        b = self.builder
        start, stop = (const(v) if isinstance(v, int) else v for v in (start, stop))
        before = b.block
        head, body, after = (
            self.function.append_basic_block(name) for name in ("head", "body", "after")
        )
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", i, stop), body, after)
        b.position_at_end(body)
        yield i
        i.add_incoming(b.add(i, const(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    def clamp(self, value, low: int, high: int):
        """A number held between two others."""
        b = self.builder
        value = b.select(b.icmp_signed("<", value, const(low)), const(low), value)
        return b.select(b.icmp_signed(">", value, const(high)), const(high), value)

    # Arithmetic.

    def fma(self, a, b, c):
        """The product of a and b, plus c, rounded once."""
        if self.lanes not in self._fma:
            kind = ir.FunctionType(self.vector, [self.vector] * 3)
            self._fma[self.lanes] = ir.Function(self.module, kind, f"llvm.fma.v{self.lanes}f32")
        return self.builder.call(self._fma[self.lanes], [a, b, c])

    def is_above(self, a, b):
        """Where a > b; false for NaN."""
        return self.builder.fcmp_ordered(">", a, b)

    def choose(self, condition, a, b):
        """The first where a condition holds, else the second."""
        return self.builder.select(condition, a, b)

    def relu(self, a):
        """max(a, 0), which keeps NaN."""
        return self.choose(self.builder.fcmp_unordered(">", a, self.zero), a, self.zero)

    def add(self, a, b):
        """The sum."""
        return self.builder.fadd(a, b)

    def subtract(self, a, b):
        """The difference."""
        return self.builder.fsub(a, b)

    def multiply(self, a, b):
        """The product."""
        return self.builder.fmul(a, b)

    def exp(self, x):
        """e^x for x <= 0, within 2 units in the last place (the polynomial of Cephes)."""
        b, value = self.builder, lambda v: self.constant(v, self.lanes)
        below = b.fcmp_ordered("<", x, value(-87.0))
        x = self.choose(below, value(-87.0), x)
        shifted = self.fma(x, value(LOG2_E), value(_ROUND))
        n = self.subtract(shifted, value(_ROUND))
        r = self.fma(n, value(-LN2_LOW), self.fma(n, value(-LN2_HIGH), x))
        result = value(_EXP[0])
        for term in _EXP[1:]:
            result = self.fma(result, r, value(term))
        result = self.fma(self.multiply(result, r), r, self.add(r, value(1.0)))
        power = b.shl(
            b.bitcast(shifted, self.integers), ir.Constant(self.integers, [23] * self.lanes)
        )
        scaled = b.bitcast(b.add(b.bitcast(result, self.integers), power), self.vector)
        return self.choose(b.fcmp_unordered("uno", x, x), x, scaled)

    # Sums that a loop carries.

    def variables(self, count: int) -> list:
        """Vectors that start at 0; LLVM keeps them in registers."""
        made = [self.variable(self.lanes) for _ in range(count)]
        for one in made:
            self.clear(one)
        return made

    def value(self, variable):
        """What a variable holds."""
        return self.builder.load(variable)

    def accumulate(self, variable, a, b) -> None:
        """Add a product to a variable."""
        self.builder.store(self.fma(a, b, self.builder.load(variable)), variable)
