"""How tasks read what Python hands them, and how the threads of a team share the work."""

# Numba reads these functions' source: annotations and asserts would be compiled too.
# mypy: ignore-errors

from typing import NamedTuple

from numba import carray, types
from numba.extending import intrinsic

from normlab.norms.kernels.loops.bfloat16 import bfloat16
from normlab.norms.kernels.loops.compiled import inlined, loop

thread_number = types.ExternalFunction("normlab_thread_number", types.int32())
team_size = types.ExternalFunction("normlab_team_size", types.int32())
barrier = types.ExternalFunction("normlab_barrier", types.void())


class Work(NamedTuple):
    """What a thread has to do.

    Attributes:
        N, C, P: Images, channels, pixels of a channel.
        nhwc: Whether maps lie channels_last.
        relu, affine: Whether a ReLU follows; whether there are gain and bias.
        splits, size: Runs of images, and consecutive channels, that share statistics.
        thread, team: Which thread this is, of how many.
        alone: Whether a thread has whole splits, and so needs nothing of the others.
        i0, i1: The splits of this thread; all of them where they are shared.
        n0, n1: The images of this thread.
        eps: Added to variances.
    """

    N: int
    C: int
    P: int
    nhwc: bool
    relu: bool
    affine: bool
    splits: int
    size: int
    thread: int
    team: int
    alone: bool
    i0: int
    i1: int
    n0: int
    n1: int
    eps: float


class Blocks(NamedTuple):
    """Statistics of all blocks: see `normlab.norms.kernels.loops`."""

    M: object
    E: object
    V: object
    R: object


class Parameters(NamedTuple):
    """Gain, bias and gate by channel; not to be read where there is none."""

    weight: object
    bias: object
    gate: object


class Gradients(NamedTuple):
    """This thread's sums for the gradients of gain, bias and gate, in float64."""

    weight: object
    bias: object
    gate: object


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
def _computed(context, pointer):
    """The same pointer, to numbers of the dtype that its values are computed in."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    number = types.float32 if pointer.dtype == bfloat16 else pointer.dtype
    return types.CPointer(number)(pointer), generate


@intrinsic
def _doubles(context, pointer):
    """The same pointer, to float64 numbers."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(pointer), generate


@inlined
def arguments(q_, count):
    """The integers a task was called with."""
    return carray(_integers(q_), count)


@inlined
def array(q_, address, count):
    """The values of a map at an address, of the type the task is compiled for: that of its q_."""
    return carray(_number_at(q_, address), count)


@inlined
def computed(q_, address, count):
    """Parameters, statistics or scratch at an address: of the dtype that maps are computed in."""
    return carray(_computed(_number_at(q_, address)), count)


@inlined
def doubles(q_, address, count):
    """The float64 numbers at an address."""
    return carray(_doubles(_number_at(q_, address)), count)


@inlined
def integers(q_, address, count):
    """The int64 numbers at an address."""
    return carray(_integers(_number_at(q_, address)), count)


@inlined
def team_of(shared):
    """This thread and how many there are."""
    if shared == 0:
        return 0, 1
    return thread_number(), team_size()


@inlined
def share(count, thread, team):
    """The first of this thread's items, and the one after its last."""
    return count * thread // team, count * (thread + 1) // team


@loop
def split_blocks(blocks, first, last):
    """The blocks of consecutive splits; `first` and `last` count blocks."""
    return Blocks(
        blocks.M[first:last], blocks.E[first:last], blocks.V[first:last], blocks.R[first:last]
    )
