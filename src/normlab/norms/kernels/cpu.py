"""The CPU backend: loops compiled by Numba, called by address, shared between torch's threads.

Numba compiles without a compiler on the machine, once per machine (it keeps a cache). With small
maps it is calls that norms cost, not arithmetic: so a whole forward or backward is one call through
ctypes with the addresses of the tensors (`normlab.norms.kernels.boundary`). Torch's own OpenMP team
shares the images of a large map.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normlab.norms.kernels.boundary import Argument, call, lies
from normlab.norms.kernels.spec import Running, Spec

NAME = "cpu"
DTYPES = (torch.float32, torch.float64)
Way = Literal["rows", "columns", "segments", "gated"]

# Values below which a second thread costs more than it brings (measured: benchmarks/norms.py).
_SHARED_FROM = 1 << 15
# Pixels up to which a loop over one channel's pixels is mostly beginning and end (measured so too).
_FEW = 64
_FEWER = 4


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP runtime torch runs on, if it is GNU's; without it every loop has one thread.

    A team of torch's own threads is the only one that does not contend with them: between two
    operations they wait at full speed.
    """
    root = Path(torch.__file__).parent
    for folder in (root / "lib", root.parent / "torch.libs"):
        for path in sorted(folder.glob("libgomp*.so*")):
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    return None


@cache
def _symbols() -> list[Any]:
    """Give the loops the functions of a team; returns what must stay alive."""
    from llvmlite import binding

    runtime = _openmp()
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
    from numba import cfunc, types

    from normlab.norms.kernels.loops.compiled import FASTMATH
    from normlab.norms.kernels.loops.tasks import entry_points

    address: Any = types.CPointer
    # The type of the pointer tells a task the type of the numbers; what it points to are integers.
    signature = types.void(address(types.float32 if dtype is torch.float32 else types.float64))
    made = cfunc(signature, cache=True, fastmath=FASTMATH, error_model="numpy")
    compiled: Any = made(entry_points(_stamp())[name])  # type: ignore[no-untyped-call]
    alone: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)
    runtime, at = _openmp(), compiled.address
    team: Any = runtime.GOMP_parallel if runtime else None
    if team is not None:
        team.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        team.restype = None

    def run(arguments: int, threads: int, keep: Any = compiled) -> None:
        if threads == 1:
            alone(arguments)
        else:
            team(at, arguments, threads, 0)

    return run


def probe() -> None:
    """Raise ImportError where Numba is missing."""
    import numba  # noqa: F401


def prepare(dtype: torch.dtype) -> None:
    """Compile or load every task for numbers of this dtype, so that no step pays for it."""
    for name in ("rows", "columns"):
        _task(f"{name}_forward", dtype), _task(f"{name}_backward", dtype)


def supports(x: Tensor) -> bool:
    """Whether the loops can read x as it lies."""
    return x.dtype in DTYPES and lies(x)


def _threads(x: Tensor, images: int) -> int:
    if x.numel() < _SHARED_FROM or _openmp() is None:
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
    _run("moments", x, (), (("x", x, None, None, False), _rows("mean", mean), _rows("var", var)))
    return mean, var


def affine(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """``scale * (x - mean) + shift`` and ReLU; factors (N, C) or (C,), float64."""
    y = torch.empty_like(x)
    maps = (("x", x, None, None, False), ("y", y, None, None, True))
    _run("affine", x, (_step(mean), relu), (*maps, *_factors(mean, scale, shift)))
    return y


def sums(
    x: Tensor, dy: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of dy and dy * (x - mean), dy taken through the ReLU: (N, C), float64."""
    d0, d1 = _wide(x, *x.shape[:2]), _wide(x, *x.shape[:2])
    maps = (("x", x, None, None, False), ("gradient", dy, None, None, False))
    given = (*maps, *_factors(mean, scale, shift), _rows("d0", d0), _rows("d1", d1))
    _run("sums", x, (_step(mean), relu), given)
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
    out = torch.empty_like(x)
    maps = (
        ("x", x, None, None, False),
        ("gradient", dy, None, None, False),
        ("dx", out, None, None, True),
    )
    rows = zip(("var", "dmean", "dvar"), slopes or (None, None, None), strict=True)
    given = (*maps, *_factors(*factors), *(_rows(name, value) for name, value in rows))
    _run("dx", x, (_step(factors[0]), relu), given)
    return out


def _step(mean: Tensor) -> int:
    return mean.shape[1] if mean.dim() == 2 else 0


def _rows(name: str, values: Tensor | None) -> Argument:
    """An array over the (n, c) of this module's own making."""
    return name, values, () if values is None else tuple(values.shape), torch.float64, True


def _factors(mean: Tensor, scale: Tensor, shift: Tensor) -> tuple[Argument, ...]:
    size, wide = tuple(mean.shape), torch.float64
    return (
        ("mean", mean, size, wide, False),
        ("scale", scale, size, wide, False),
        ("shift", shift, size, wide, False),
    )


def _run(name: str, x: Tensor, numbers: tuple[int, ...], given: tuple[Argument, ...]) -> None:
    """Run a task of the general path, whose arguments autograd made."""
    N, C, H, W = x.shape
    threads = _threads(x, N)
    sizes = (threads > 1, N, C, H * W, not x.is_contiguous())
    if not call(_task(name, x.dtype), threads, x, (*sizes, *numbers, *given)):
        raise RuntimeError(f"the loops cannot read what '{name}' was given for {x.dtype} maps")


def way(spec: Spec, C: int, P: int, nhwc: bool) -> Way:
    """How a pooled kind walks over maps: decided by what is pooled, the layout and the pixels."""
    size, each = spec.pooling.channels, spec.pooling.images == "each"
    if spec.gate:
        return "gated"
    if each and (size == C or not nhwc) and size * P >= 32 and P <= _FEW:
        return "segments"
    if nhwc or (not each and size == 1 and P <= _FEWER):
        return "columns"
    return "rows"


class _Plan(NamedTuple):
    """What the shape of maps decides. Integers alone, so it may be kept.

    Attributes:
        forward: Name of the task.
        backward: Name of its backward.
        numbers: The first arguments of a pooled task.
        bounds: First image of each split, and the end of the last; `numbers` has its address.
        stats: Values of statistics of the blocks.
        own: Values of moments of the (n, c).
        columns: Values of each array that columns' parts need.
        sums: Values of a backward's sums.
    """

    forward: str
    backward: str
    numbers: tuple[int, ...]
    bounds: Any
    stats: int
    own: int
    columns: int
    sums: int


@lru_cache(maxsize=256)
def _plan(spec: Spec, N: int, C: int, P: int, nhwc: bool, threads: int) -> _Plan:
    from normlab.norms.kernels.loops.columns import columns_of
    from normlab.norms.kernels.loops.pooled_columns import PARTS

    sizes, size = spec.pooling.sizes(N), spec.pooling.channels
    if size < 1 or C % size or min(sizes) < 1 or sum(sizes) != N:
        raise ValueError(
            f"pooling is {spec.pooling}: its channels must divide {C}, its images sum to {N}"
        )
    bounds = (ctypes.c_int64 * (len(sizes) + 1))(0, *accumulate(sizes))
    walk, splits = way(spec, C, P, nhwc), len(sizes)
    width, copies = columns_of.py_func(C, P, nhwc, splits == N)
    # Each thread by itself has room for a split; a team that shares splits for all of them.
    rooms = splits if splits < threads else threads
    arrays = {"gated": 4, "rows": 0 if splits == N else 2}.get(walk, 0)
    return _Plan(
        forward=f"{walk}_forward",
        backward=f"{walk}_backward",
        numbers=(
            threads > 1, N, C, P, nhwc, spec.relu, spec.affine, splits, size,
            ctypes.addressof(bounds),
        ),
        bounds=bounds,
        stats=4 * splits * (C // size),
        own=arrays * N * C,
        columns=PARTS * C * width * copies * rooms if walk == "columns" else 0,
        sums=3 * C * threads + {"gated": 4, "rows": 2}.get(walk, 0) * N * C,
    )  # fmt: skip


def pooled_forward(
    spec: Spec,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    running: Running | None,
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The normalized map, the blocks' statistics, and under a gate those of the (n, c).

    Running statistics, if given, are moved in the same call. None if the loops cannot read it all.
    """
    if spec.gate and spec.pooling.channels > 1:  # the loops know gates of single channels alone
        return None
    N, C, H, W = x.shape
    threads = _threads(x, N)
    plan = _plan(spec, N, C, H * W, not x.is_contiguous(), threads)
    dtype, device, wide, channels = x.dtype, x.device, torch.float64, (C,)
    y = torch.empty_like(x)
    stats = torch.empty(plan.stats, dtype=dtype, device=device)
    own = torch.empty(plan.own, dtype=wide, device=device) if plan.own else 0
    room = torch.empty(3 * plan.columns, dtype=dtype, device=device) if plan.columns else 0
    moves, momentum = 0, None
    mean = var = batches = None
    if running is not None:
        mean, var, batches, momentum, per_split = running
        moves = 1 + 2 * per_split + 4 * (momentum is None)
    numbers = _numbers(spec.eps, momentum)
    given = (
        *plan.numbers, ctypes.addressof(numbers), stats, own, room,
        ("x", x, None, None, False), y,
        ("weight", weight, channels, None, False),
        ("bias", bias, channels, None, False),
        (spec.gate, gate, channels, None, False),
        moves,
        ("running_mean", mean, channels, None, True),
        ("running_var", var, channels, None, True),
        ("num_batches_tracked", batches, (), torch.int64, True),
    )  # fmt: skip
    if not call(_task(plan.forward, dtype), threads, x, given):
        return None
    if running is not None:
        increment_version((running.mean, running.var, running.batches))
    return y, stats, own if isinstance(own, Tensor) and spec.gate else None


def pooled_backward(
    spec: Spec,
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
    N, C, H, W = x.shape
    threads = _threads(x, N)
    plan = _plan(spec, N, C, H * W, not x.is_contiguous(), threads)
    dtype, device, wide, channels = x.dtype, x.device, torch.float64, (C,)
    out = torch.empty_like(x)
    sums = torch.empty(plan.sums, dtype=wide, device=device)
    room = torch.empty(2 * plan.columns, dtype=dtype, device=device) if plan.columns else 0
    # Three tensors and no views of one: autograd's care of views costs more than they do.
    dweight = None if weight is None else torch.empty(C, dtype=dtype, device=device)
    dbias = None if bias is None else torch.empty(C, dtype=dtype, device=device)
    dgate = None if gate is None else torch.empty(C, dtype=dtype, device=device)
    numbers = _numbers(spec.eps, None)
    given = (
        *plan.numbers, ctypes.addressof(numbers),
        ("statistics", stats, (plan.stats,), None, False),
        ("moments", own, (plan.own,), wide, False),
        room,
        ("x", x, None, None, False),
        ("gradient", dy, None, None, False),
        out,
        ("weight", weight, channels, None, False),
        ("bias", bias, channels, None, False),
        (spec.gate, gate, channels, None, False),
        threads, sums,
        0 if dweight is None else dweight,
        0 if dbias is None else dbias,
        0 if dgate is None else dgate,
    )  # fmt: skip
    if not call(_task(plan.backward, dtype), threads, x, given):
        return None
    return out, dweight, dbias, dgate


@lru_cache(maxsize=64)
def _numbers(eps: float, momentum: float | None) -> Any:
    """eps and momentum where a task reads them; never written to."""
    return (ctypes.c_double * 2)(eps, momentum or 0.0)


def block_statistics(spec: Spec, x: Tensor, stats: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the blocks, each (splits, groups)."""
    splits = len(spec.pooling.sizes(x.shape[0]))
    M, E, V, _ = stats.view(4, splits, -1)
    return M + E, V
