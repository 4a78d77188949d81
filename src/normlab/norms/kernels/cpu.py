"""The CPU backend: loops compiled by Numba, called by address, shared between torch's threads.

Numba compiles without a compiler on the machine, once per machine (it keeps a cache). With small
maps it is calls that norms cost, not arithmetic: so a whole forward or backward is one call through
ctypes with the addresses of the tensors (`normlab.norms.kernels.boundary`). Torch's own OpenMP team
shares the images of a large map.

bfloat16 maps are read and written as they are; all that is computed of them is float32, parameters
and running statistics too, as under autocast.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normlab.native import team
from normlab.norms.kernels.boundary import Assumed, call, lies
from normlab.norms.kernels.spec import Running, Spec

NAME = "cpu"
# The dtype of maps -> that of what is computed of them: parameters, statistics, gradients of gains.
DTYPES = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
}
Way = Literal["rows", "columns", "segments", "gated"]

# Values below which a second thread costs more than it brings (measured: benchmarks/norms.py).
_SHARED_FROM = 1 << 15
# Pixels below which a loop over one channel's pixels is mostly beginning and end (measured so too).
_FEW = 64
# Pixels up to which columns pay with any number of images.
_FEWER = 4
# The tasks of most kinds.
_PREPARED = tuple(
    f"{w}_{d}" for w in ("rows", "columns", "segments") for d in ("forward", "backward")
)


@cache
def _symbols() -> list[object]:
    """Give the loops the functions of a team; returns what must stay alive."""
    from llvmlite import binding

    runtime = team.openmp()
    kept: list[Any] = []
    for name, real, alone in (
        ("normlab_thread_number", "omp_get_thread_num", lambda: 0),
        ("normlab_team_size", "omp_get_num_threads", lambda: 1),
        ("normlab_barrier", "GOMP_barrier", lambda: 0),
    ):
        function: Any = getattr(runtime, real) if runtime else ctypes.CFUNCTYPE(ctypes.c_int)(alone)
        kept.append(function)
        binding.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    return kept


@cache
def _stamp() -> int:
    """A number made from the text of all the loops; never 0."""
    folder = Path(__file__).parent / "loops"
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") | 1


@cache
def _task(name: str, dtype: torch.dtype) -> Callable[[int, int], None]:
    """A compiled task: called with the address of its arguments and a number of threads."""
    _symbols()
    from numba import cfunc

    from normlab.norms.kernels.loops.compiled import FASTMATH

    task, signature = _to_compile(name, dtype)
    made = cfunc(signature, cache=True, fastmath=FASTMATH, error_model="numpy")
    compiled: Any = made(task)
    alone: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)
    at = compiled.address

    def run(arguments: int, threads: int, keep: object = compiled) -> None:
        if threads == 1:
            alone(arguments)
        else:
            team.on_team(at, arguments, threads)

    return run


def _to_compile(name: str, dtype: torch.dtype) -> tuple[Callable[..., None], Any]:
    """A task by name, and its signature for a dtype."""
    from numba import types

    from normlab.norms.kernels.loops.bfloat16 import bfloat16
    from normlab.norms.kernels.loops.tasks import entry_points

    address: Any = types.CPointer
    kinds = {torch.float32: types.float32, torch.float64: types.float64, torch.bfloat16: bfloat16}
    # The type of the pointer tells a task the type of the maps; what it points to are integers.
    signature = types.void(address(kinds[dtype]))
    tasks: dict[str, Callable[..., None]] = entry_points(_stamp())  # type: ignore[no-untyped-call]
    return tasks[name], signature


def probe() -> None:
    """Raise ImportError where Numba is missing."""
    import numba  # noqa: F401


def prepare(dtype: torch.dtype) -> None:
    """Compile or load what most kinds run on maps of this dtype, so that no step pays for it."""
    for name in _PREPARED:
        _task(name, dtype)


def is_prepared(dtype: torch.dtype) -> bool:
    """Whether `prepare` finds all it needs compiled: in this process, or in Numba's cache."""
    try:
        return all(_is_compiled(name, dtype) for name in _PREPARED)
    except Exception:  # noqa: BLE001, RUF100 (Numba's inside may change)
        return False


@cache
def _is_compiled(name: str, dtype: torch.dtype) -> bool:
    from numba.core.caching import FunctionCache
    from numba.core.registry import cpu_target

    task, signature = _to_compile(name, dtype)
    kept: Any = FunctionCache(task)  # type: ignore[no-untyped-call]
    key = kept._index_key(signature, cpu_target.target_context.codegen())
    return kept._cache_file.load(key) is not None


def supports(x: Tensor) -> bool:
    """Whether the loops can read x as it lies."""
    return x.dtype in DTYPES and lies(x)


def _threads(x: Tensor, images: int) -> int:
    if x.numel() < _SHARED_FROM or team.openmp() is None:
        return 1
    return min(torch.get_num_threads(), images)


def _wide(x: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float64, device=x.device)


def moments_dtype(x: Tensor) -> torch.dtype:
    """The dtype of statistics and factors of every (n, c)."""
    return torch.float64


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, each (N, C), float64."""
    mean, var = _wide(x, *x.shape[:2]), _wide(x, *x.shape[:2])
    _run("moments", x, (), (mean, var), (x,), (_map("x", x),))
    return mean, var


def affine(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """``scale * (x - mean) + shift`` and ReLU; factors (N, C) or (C,), float64."""
    y = torch.empty_like(x)
    assumed = (_map("x", x), *_factors(mean))
    _run("affine", x, (_step(mean), relu), (y,), (x, mean, scale, shift), assumed)
    return y


def sums(
    x: Tensor, dy: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of dy and dy * (x - mean), dy taken through the ReLU: (N, C), float64."""
    d0, d1 = _wide(x, *x.shape[:2]), _wide(x, *x.shape[:2])
    assumed = (_map("x", x), _map("gradient", x), *_factors(mean))
    given = (x, dy, mean, scale, shift)
    _run("sums", x, (_step(mean), relu), (d0, d1), given, assumed)
    return d0, d1


def dx(
    x: Tensor,
    dy: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    relu: bool,
    slopes: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """``scale * dy``, dy through the ReLU, plus what reaches x by its moments.

    `factors` are mean, scale and shift; `slopes` var, dmean and dvar, (N, C) and float64:
    dmean / P + 2 * dvar / P * (x - mean) is added.
    """
    out, rows = torch.empty_like(x), tuple(x.shape[:2])
    assumed = (
        _map("x", x),
        _map("gradient", x),
        *_factors(factors[0]),
        *(Assumed(name, rows, torch.float64) for name in ("var", "dmean", "dvar")),
    )
    given = (x, dy, *factors, *(slopes or (None, None, None)))
    _run("dx", x, (_step(factors[0]), relu), (out,), given, assumed)
    return out


def _step(mean: Tensor) -> int:
    return mean.shape[1] if mean.dim() == 2 else 0


def _map(name: str, x: Tensor) -> Assumed:
    """A map that lies as x does."""
    return Assumed(name, tuple(x.shape), x.dtype, form=_form(not x.is_contiguous()))


def _form(nhwc: bool) -> torch.memory_format | None:
    return torch.channels_last if nhwc else None


def _factors(mean: Tensor) -> tuple[Assumed, ...]:
    size, wide = tuple(mean.shape), torch.float64
    return tuple(Assumed(name, size, wide) for name in ("mean", "scale", "shift"))


def _run(
    name: str,
    x: Tensor,
    numbers: tuple[int, ...],
    made: tuple[Tensor, ...],
    given: tuple[Tensor | None, ...],
    assumed: tuple[Assumed, ...],
) -> None:
    """Run a task of the general path, whose arguments autograd made."""
    N, C, H, W = x.shape
    threads = _threads(x, N)
    sizes = (threads > 1, N, C, H * W, not x.is_contiguous(), *numbers)
    if not call(_task(name, x.dtype), threads, sizes, made, given, assumed):
        raise RuntimeError(f"the loops cannot read what '{name}' was given for {x.dtype} maps")


def way(spec: Spec, N: int, C: int, P: int, nhwc: bool) -> Way:
    """How a pooled kind walks over maps: decided by what is pooled, the layout and the pixels."""
    size, each = spec.pooling.channels, spec.pooling.images == "each"
    if spec.gate:
        return "gated"
    if each and (size == C if nhwc else P < _FEW):
        return "segments"
    if nhwc:
        return "columns"
    # What a split has to do once for each column, all its images share.
    images = N if spec.pooling.images == "all" else min(spec.pooling.sizes(N))
    enough = P <= _FEWER or images >= P
    if not each and size == 1 and P < _FEW and enough:
        return "columns"
    return "rows"


class Plan(NamedTuple):
    """What the shape of maps decides of a pooled kind. It holds no tensor, so it may be kept.

    Attributes:
        threads: How many share the work.
        forward: Name of the task.
        backward: Name of its backward.
        numbers: The first arguments of a pooled task.
        kept: Arrays that `numbers` has addresses in.
        stats: Values of statistics of the blocks.
        own: Values of the (n, c)'s moments that are kept for the backward.
        room: Numbers of float64 that a forward has for itself.
        sums: Numbers of float64 for a backward's sums.
        columns: Numbers of float64 for the sums of columns' parts.
        reads: What the forward assumes of what it is given.
        returns: What the backward assumes.
    """

    threads: int
    forward: str
    backward: str
    numbers: tuple[int, ...]
    kept: Any
    stats: int
    own: int
    room: int
    sums: int
    columns: int
    reads: tuple[Assumed, ...]
    returns: tuple[Assumed, ...]


def plan(spec: Spec, x: Tensor) -> Plan | None:
    """How the loops go over maps like x; None for a gate over several channels."""
    if spec.gate and spec.pooling.channels > 1:
        return None
    threads = 1 if x.numel() < _SHARED_FROM else _threads(x, x.shape[0])
    return _plan(spec, x.shape, x.dtype, not x.is_contiguous(), threads)


@lru_cache(maxsize=256)
def _plan(spec: Spec, shape: tuple[int, ...], dtype: torch.dtype, nhwc: bool, threads: int) -> Plan:
    from normlab.norms.kernels.loops.columns import columns_of
    from normlab.norms.kernels.loops.pooled_columns import PARTS

    N, C, P = shape[0], shape[1], shape[2] * shape[3]
    sizes, size = spec.pooling.sizes(N), spec.pooling.channels
    if size < 1 or C % size or min(sizes) < 1 or sum(sizes) != N:
        raise ValueError(
            f"pooling is {spec.pooling}: its channels must divide {C}, its images sum to {N}"
        )
    bounds = (ctypes.c_int64 * (len(sizes) + 1))(0, *accumulate(sizes))
    eps = (ctypes.c_double * 1)(spec.eps)
    walk, splits = way(spec, N, C, P, nhwc), len(sizes)
    width, copies = columns_of.py_func(C, P, nhwc, splits == N)
    # Each thread by itself has room for a split; a team that shares splits for all of them.
    rooms = splits if splits < threads else threads
    columns = PARTS * C * width * copies * rooms if walk == "columns" else 0
    stats, own = 4 * splits * (C // size), 4 * N * C if spec.gate else 0
    shape, channels, form, number = tuple(shape), (C,), _form(nhwc), DTYPES[dtype]
    parameters = tuple(Assumed(name, channels, number) for name in ("weight", "bias", spec.gate))
    return Plan(
        threads=threads,
        forward=f"{walk}_forward",
        backward=f"{walk}_backward",
        numbers=(
            threads > 1, N, C, P, nhwc, spec.relu, spec.affine, splits, size,
            ctypes.addressof(bounds), ctypes.addressof(eps),
        ),
        kept=(bounds, eps),
        stats=stats,
        own=own,
        room=2 * N * C if walk == "rows" and splits < N else 3 * columns,
        sums=3 * C * threads + {"gated": 4, "rows": 2}.get(walk, 0) * N * C,
        columns=2 * columns,
        reads=(
            Assumed("x", shape, dtype, form=form),
            *parameters,
            Assumed("running_mean", channels, number, written=True),
            Assumed("running_var", channels, number, written=True),
            Assumed("num_batches_tracked", (), torch.int64, written=True),
        ),
        returns=(
            Assumed("x", shape, dtype, form=form),
            Assumed("gradient", shape, dtype, form=form),
            *parameters,
        ),
    )  # fmt: skip


class _Scratch(threading.local):
    """Room for what a task needs while it runs, kept by each thread; no more than `MOST` bytes."""

    MOST = 1 << 18

    def __init__(self) -> None:
        self.room = torch.empty(0, dtype=torch.float64, device="cpu")

    def of(self, count: int) -> Tensor | None:
        """Room for at least that many float64 numbers."""
        if not count:
            return None
        if count > self.MOST // 8:
            return torch.empty(count, dtype=torch.float64, device="cpu")
        if count > self.room.numel():
            size = min(2 * count, self.MOST // 8)
            self.room = torch.empty(size, dtype=torch.float64, device="cpu")
        return self.room


_scratch = _Scratch()


def pooled_forward(
    plan: Plan,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    running: Running | None,
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The normalized map, the blocks' statistics, and under a gate those of the (n, c).

    Running statistics, if given, are moved in the same call. None if the loops cannot read it all.
    """
    y = torch.empty_like(x)
    stats = torch.empty(plan.stats, dtype=DTYPES[x.dtype], device="cpu")
    own = _wide(x, plan.own) if plan.own else None
    room = _scratch.of(plan.room)
    moves = _STILL  # held until the task is done: it has the number whose address goes in
    moved: tuple[Tensor | None, ...] = (None, None, None)
    if running is not None:
        moves, moved = _moves(running.momentum, running.per_split), running[:3]
    if not call(
        _task(plan.forward, x.dtype), plan.threads, plan.numbers + moves[:2], (stats, own, room, y),
        (x, weight, bias, gate, *moved), plan.reads,
    ):  # fmt: skip
        return None
    if running is not None:
        increment_version(running[:3])
    return y, stats, own


def pooled_backward(
    plan: Plan,
    x: Tensor,
    dy: Tensor,
    stats: Tensor,
    own: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None] | None:
    """dx, and the gradients of gain, bias and gate, None of what is not there.

    None in place of all if the tensors are no longer as the loops left them.
    """
    form = plan.reads[0].form or torch.contiguous_format
    if not x.is_contiguous(memory_format=form):  # a hook laid it out anew
        x = x.contiguous(memory_format=form)
    out = torch.empty_like(x)
    room = _scratch.of(plan.sums + plan.columns)
    # Three tensors and no views of one: autograd's care of views costs more than they do.
    dweight = None if weight is None else torch.empty_like(weight)
    dbias = None if bias is None else torch.empty_like(bias)
    dgate = None if gate is None else torch.empty_like(gate)
    # By the dtype that the maps had: a hook may give them back in one that no loop is for.
    task = _task(plan.backward, plan.returns[0].dtype)
    if not call(
        task, plan.threads, (*plan.numbers, plan.threads, plan.sums),
        (stats, own, room, out, dweight, dbias, dgate), (x, dy, weight, bias, gate), plan.returns,
    ):  # fmt: skip
        return None
    return out, dweight, dbias, dgate


class _Moves(NamedTuple):
    """How running statistics move: as a task is told, and the address of the momentum."""

    how: int
    address: int
    momentum: Any


_STILL = _Moves(0, 0, None)


@lru_cache(maxsize=64)
def _moves(momentum: float | None, per_split: bool) -> _Moves:
    number = (ctypes.c_double * 1)(momentum or 0.0)
    how = 1 + 2 * per_split + 4 * (momentum is None)
    return _Moves(how, ctypes.addressof(number), number)


def block_statistics(spec: Spec, x: Tensor, stats: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the blocks, each (splits, groups)."""
    splits = len(spec.pooling.sizes(x.shape[0]))
    M, E, V, _ = stats.view(4, splits, -1)
    return M + E, V
