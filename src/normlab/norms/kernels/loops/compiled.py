"""How the loops are compiled: Numba's decorators, with the same choices everywhere.

In a loop, float(x) of a float32 stays float32 with Numba: np.float64(x) is what widens.
"""

# mypy: ignore-errors

from numba import njit, types
from numba.extending import intrinsic

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered to use vector units; NaN and infinity keep their meaning."""

# Nobody calls these from Python: a third less to compile.
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# Inlined, or the process that compiles would run each loop's own version where one that loads the
# cache runs the copy inside the task, optimized by itself: equal to rounding, not to the bit.
loop = njit(fastmath=FASTMATH, error_model="numpy", forceinline=True, **_INSIDE)

ordered = njit(fastmath={"contract"}, error_model="numpy", forceinline=True, **_INSIDE)
"""A loop whose sums keep the order they are written in: columns side by side fill a vector."""

inlined = njit(inline="always", **_INSIDE)
"""For a few lines that several loops begin with."""

called = njit(error_model="numpy", inline="never", **_INSIDE)
"""For what runs rarely: a call, so that it is not compiled into every loop."""


@intrinsic
def where(context, condition, yes, no):
    """`yes if condition else no`, of which both are read, whatever the condition.

    Without it a loop reads dy under the mask of a ReLU, and so waits for x before it asks the
    memory for dy: half as fast where both come from far away.
    """

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    number = yes if isinstance(yes, types.Float) else no
    return number(types.boolean, number, number), generate
