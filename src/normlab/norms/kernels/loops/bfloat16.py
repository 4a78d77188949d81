"""bfloat16 for Numba, which has none: two bytes in memory, a float32 number everywhere else.

An element of an array widens when it is read and is rounded when it is written, to nearest and ties
to even, as torch does it; so the same loops serve maps of any dtype. What is computed of a map,
statistics, factors and sums, has the dtype `number_of` gives: float32 for bfloat16.
"""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typeconv import Conversion
from numba.extending import lower_cast, models, overload, register_model

_BITS, _WORD, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()
_NAN = 0x7FC0


class BFloat16(types.Type):
    """The upper half of a float32."""

    def __init__(self):
        super().__init__(name="normlab_bfloat16")

    def can_convert_to(self, context, other):
        """To float32 first of all: what is done with two of them is done in float32."""
        if other == types.float32:
            return Conversion.promote
        return Conversion.safe if other == types.float64 else None

    def can_convert_from(self, context, other):
        """From what is computed."""
        return Conversion.unsafe if isinstance(other, types.Float) else None


bfloat16 = BFloat16()


@register_model(BFloat16)
class BFloat16Model(models.PrimitiveModel):
    """A float32 in registers; its upper half, rounded, in memory."""

    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOAT)

    def get_data_type(self):
        """In memory."""
        return _BITS

    def from_data(self, builder, value):
        """Widen: exact."""
        return builder.bitcast(builder.shl(builder.zext(value, _WORD), _WORD(16)), _FLOAT)

    def as_data(self, builder, value):
        """Round with integers, which fill vectors everywhere; the sum would spoil a NaN."""
        bits = builder.bitcast(value, _WORD)
        odd = builder.and_(builder.lshr(bits, _WORD(16)), _WORD(1))
        up = builder.add(builder.add(bits, _WORD(0x7FFF)), odd)
        rounded = builder.trunc(builder.lshr(up, _WORD(16)), _BITS)
        return builder.select(builder.fcmp_unordered("uno", value, value), _BITS(_NAN), rounded)


@lower_cast(BFloat16, types.Float)
def _read(context, builder, kind, wanted, value):
    return context.cast(builder, value, types.float32, wanted)


@lower_cast(types.Float, BFloat16)
def _written(context, builder, kind, wanted, value):
    return context.cast(builder, value, kind, types.float32)


def number_of(x):
    """The dtype of what is computed of an array's values, as a function that makes such numbers."""


@overload(number_of, inline="always")
def _number_of(x):
    if x.dtype == bfloat16:
        return lambda x: np.float32
    return lambda x: x.dtype.type


def numbers(shape, x):
    """Room for what is computed of an array's values."""


@overload(numbers, inline="always")
def _numbers(shape, x):
    if x.dtype == bfloat16:
        return lambda shape, x: np.empty(shape, np.float32)
    return lambda shape, x: np.empty(shape, x.dtype)
