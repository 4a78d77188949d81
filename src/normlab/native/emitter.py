"""Writes one function in LLVM's language: loops, addresses and vectors of float32.

The function takes the address of an array of int64, its arguments; what is an address among them
is read as one. Vectors are as wide as the caller asks; LLVM maps them to the machine's registers.
"""

# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

I16, I32, I64, F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, HALVES = F32.as_pointer(), I16.as_pointer()
_FIELDS = I64.as_pointer()


def const(value: int) -> ir.Constant:
    """An int64."""
    return ir.Constant(I64, value)


def _all(value: int, kind):
    return ir.Constant(kind, [value] * kind.count)


class Emitter:
    """A function in the making.

    Args:
        name: Of the function.
    """

    def __init__(self, name: str) -> None:
        self.module = ir.Module(name)
        kind = ir.FunctionType(ir.VoidType(), [_FIELDS])
        self.function = ir.Function(self.module, kind, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._fma = {}

    def finish(self) -> str:
        """The text of the whole."""
        self.builder.ret_void()
        return str(self.module)

    def argument(self, index: int):
        """An int64 argument."""
        return self.builder.load(self.builder.gep(self.function.args[0], [const(index)]))

    def address(self, index: int):
        """An argument that is the address of float32 numbers."""
        return self.builder.inttoptr(self.argument(index), FLOATS)

    def halves(self, index: int):
        """An argument that is the address of bfloat16 numbers."""
        return self.builder.inttoptr(self.argument(index), HALVES)

    def thread(self, index: int):
        """The number of this thread: asked of the function at the address in an argument, or 0."""
        b, at = self.builder, self.argument(index)
        number = b.alloca(I64)
        b.store(const(0), number)
        with b.if_then(b.icmp_signed("!=", at, const(0))):
            asked = b.inttoptr(at, ir.FunctionType(I32, []).as_pointer())
            b.store(b.sext(b.call(asked, []), I64), number)
        return b.load(number)

    def share(self, count, threads, thread):
        """First and last (exclusive) of `count` things that a thread of a team has."""
        b = self.builder
        first = b.sdiv(b.mul(count, thread), threads)
        return first, b.sdiv(b.mul(count, b.add(thread, const(1))), threads)

    def loop(self, stop, body: Callable, start=None) -> None:
        """`body(i)` for i from start, 0 if not given, up to stop."""
        b, start = self.builder, const(0) if start is None else start
        stop = const(stop) if isinstance(stop, int) else stop
        before = b.block
        head = self.function.append_basic_block("loop")
        after = self.function.append_basic_block("after")
        b.cbranch(b.icmp_signed("<", start, stop), head, after)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(start, before)
        body(i)
        following = b.add(i, const(1))
        i.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, stop), head, after)
        b.position_at_end(after)

    def is_equal(self, a, b):
        """Whether two numbers are."""
        b = const(b) if isinstance(b, int) else b
        return self.builder.icmp_signed("==", a, b)

    def either(self, condition, then: Callable, otherwise: Callable) -> None:
        """`then()` where a condition holds, else `otherwise()`."""
        with self.builder.if_else(condition) as (yes, no):
            with yes:
                then()
            with no:
                otherwise()

    def times(self, value, factor: int):
        """A product with a constant."""
        return value if factor == 1 else self.builder.mul(value, const(factor))

    def plus(self, *values):
        """A sum of values and constants."""
        total = None
        for value in values:
            number = const(value) if isinstance(value, int) else value
            total = number if total is None else self.builder.add(total, number)
        return total

    def least(self, a, b):
        """The smaller of two numbers."""
        b = const(b) if isinstance(b, int) else b
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def at(self, pointer, offset):
        """The address so many numbers on."""
        return self.builder.gep(pointer, [const(offset) if isinstance(offset, int) else offset])

    def table(self, name: str, values: list[int]):
        """An array of int64 constants."""
        kind = ir.ArrayType(I64, max(len(values), 1))
        held = ir.GlobalVariable(self.module, kind, name)
        held.global_constant, held.linkage = True, "internal"
        held.initializer = ir.Constant(kind, list(values) or [0])
        return held

    def look_up(self, table, index):
        """A constant of a table."""
        return self.builder.load(self.builder.gep(table, [const(0), index]))

    # Vectors.

    def variable(self, lanes: int):
        """Room for a vector; LLVM keeps it in a register."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(ir.VectorType(F32, lanes))

    def constant(self, value: float, lanes: int):
        """A number in all lanes."""
        return ir.Constant(ir.VectorType(F32, lanes), [value] * lanes)

    def negative(self, vector):
        """The vector with other signs."""
        return self.builder.fneg(vector)

    def clear(self, variable) -> None:
        """Set a variable to 0."""
        kind = variable.type.pointee
        self.builder.store(ir.Constant(kind, [0.0] * kind.count), variable)

    def load(self, pointer, lanes: int):
        """A vector from anywhere in memory."""
        kind = ir.VectorType(F32, lanes).as_pointer()
        return self.builder.load(self.builder.bitcast(pointer, kind), align=4)

    def store(self, vector, pointer) -> None:
        """A vector to anywhere in memory."""
        self.builder.store(vector, self.builder.bitcast(pointer, vector.type.as_pointer()), align=4)

    def load_halves(self, pointer, lanes: int):
        """A vector of float32 from bfloat16 numbers in memory."""
        b, wide = self.builder, ir.VectorType(I32, lanes)
        kind = ir.VectorType(I16, lanes).as_pointer()
        bits = b.zext(b.load(b.bitcast(pointer, kind), align=2), wide)
        return b.bitcast(b.shl(bits, _all(16, wide)), ir.VectorType(F32, lanes))

    def store_halves(self, vector, pointer) -> None:
        """A vector of float32 as bfloat16: to the nearest, halves to even; NaN stays NaN."""
        b, lanes = self.builder, vector.type.count
        wide, narrow = ir.VectorType(I32, lanes), ir.VectorType(I16, lanes)
        bits = b.bitcast(vector, wide)
        odd = b.and_(b.lshr(bits, _all(16, wide)), _all(1, wide))
        rounded = b.lshr(b.add(bits, b.add(odd, _all(0x7FFF, wide))), _all(16, wide))
        is_nan = b.fcmp_unordered("uno", vector, vector)
        made = b.trunc(b.select(is_nan, _all(0x7FC0, wide), rounded), narrow)
        b.store(made, b.bitcast(pointer, narrow.as_pointer()), align=2)

    def shuffled(self, a, b, lanes: list[int]):
        """Lanes of two vectors, those of the second counted on."""
        kind = ir.VectorType(I32, len(lanes))
        other = ir.Constant(a.type, ir.Undefined) if b is None else b
        return self.builder.shuffle_vector(a, other, ir.Constant(kind, lanes))

    def spread(self, pointers: list, lanes: int):
        """Numbers from memory, each in as many neighbouring lanes as there is room for."""
        b, kind = self.builder, ir.VectorType(F32, lanes)
        empty = ir.Constant(kind, ir.Undefined)
        ones = [b.insert_element(empty, b.load(p, align=4), ir.Constant(I32, 0)) for p in pointers]
        if len(ones) == 1:
            return self.shuffled(ones[0], None, [0] * lanes)
        half = lanes // 2
        return self.shuffled(ones[0], ones[1], [0] * half + [lanes] * half)

    def multiply_add(self, a, b, variable) -> None:
        """Add a product to a variable, rounded once."""
        kind = a.type
        if kind.count not in self._fma:
            name = f"llvm.fma.v{kind.count}f32"
            self._fma[kind.count] = ir.Function(
                self.module, ir.FunctionType(kind, [kind] * 3), name
            )
        call = self.builder.call(self._fma[kind.count], [a, b, self.builder.load(variable)])
        self.builder.store(call, variable)

    def transposed(self, rows: list) -> list:
        """The columns of a square of vectors."""
        size, half = len(rows), len(rows) // 2
        while half:
            made = list(rows)
            for i in range(size):
                if i & half:
                    continue
                a, b = rows[i], rows[i + half]
                low = [j if not j & half else size + j - half for j in range(size)]
                high = [j + half if not j & half else size + j for j in range(size)]
                made[i] = self.shuffled(a, b, low)
                made[i + half] = self.shuffled(a, b, high)
            rows, half = made, half // 2
        return rows
