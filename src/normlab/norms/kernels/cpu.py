"""The CPU backend: loops compiled by Numba, called by address, shared between torch's threads.

Numba compiles without a compiler on the machine, once per machine (it keeps a cache). With small
maps it is calls that norms cost, not arithmetic: so a whole forward or backward is one call through
ctypes with the addresses of the tensors, and what does not change between steps is kept in a plan.
Torch's own OpenMP team shares the images of a large map.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normlab.norms.kernels.pools import Pools, Running

NAME = "cpu"
DTYPES = (torch.float32, torch.float64)

# Values below which a second thread costs more than it brings (measured: benchmarks/norms.py).
_SHARED_FROM = 1 << 15


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
def _task(name: str, dtype: torch.dtype) -> Callable[[Any, int], None]:
    """A compiled task: called with its array of arguments and a number of threads."""
    _symbols()
    from numba import cfunc, types

    from normlab.norms.kernels import cpu_loops

    address: Any = types.CPointer
    # The type of the pointer tells a task the type of the numbers; what it points to are integers.
    signature = types.void(address(types.float32 if dtype is torch.float32 else types.float64))
    made = cfunc(signature, cache=True, fastmath=cpu_loops.FASTMATH, error_model="numpy")
    compiled: Any = made(getattr(cpu_loops, name))
    alone: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)
    runtime, at = _openmp(), compiled.address
    team: Any = runtime.GOMP_parallel if runtime else None
    if team is not None:
        team.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        team.restype = None

    def call(arguments: Any, threads: int, keep: Any = compiled) -> None:
        if threads == 1:
            alone(arguments)
        else:
            team(at, arguments, threads, 0)

    return call


def _run(name: str, x: Tensor, *numbers: int) -> None:
    """Run a task on maps x; `numbers` are its arguments from the fifth on."""
    threads = _threads(x)
    N, C, P = _sizes(x)
    values = (threads > 1, N, C, P, _is_nhwc(x), *numbers)
    _task(name, x.dtype)((ctypes.c_int64 * len(values))(*values), threads)


def _threads(x: Tensor) -> int:
    if x.numel() < _SHARED_FROM or _openmp() is None:
        return 1
    return min(torch.get_num_threads(), len(x))


def probe() -> None:
    """Raise ImportError where Numba is missing."""
    import numba  # noqa: F401


def prepare(dtype: torch.dtype) -> None:
    """Compile or load every task for numbers of this dtype, so that no step pays for it."""
    for name in ("moments", "affine", "sums", "dx", "pooled_forward", "pooled_backward"):
        _task(name, dtype)


def supports(x: Tensor) -> bool:
    """Whether the loops can read x as it lies."""
    lies = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    return x.dtype in DTYPES and x.device.type == "cpu" and lies


def _is_nhwc(x: Tensor) -> bool:
    """Whether pixels lie with their channels side by side; decided by x alone."""
    return not x.is_contiguous()


def _like(gradient: Tensor, nhwc: bool) -> Tensor:
    """The gradient lying as x does; autograd may hand over another layout."""
    form = torch.channels_last if nhwc else torch.contiguous_format
    return gradient.contiguous(memory_format=form)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], x.shape[2] * x.shape[3]


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, each (N, C)."""
    mean, var = torch.empty((2, *x.shape[:2]), dtype=x.dtype).unbind()
    _run("moments", x, _at(x), _at(mean), _at(var))
    return mean, var


def affine(x: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
    """``scale * (x - center) + shift`` and ReLU; factors (N, C) or (C,), contiguous."""
    y = torch.empty_like(x)
    step = x.shape[1] if center.dim() == 2 else 0
    _run("affine", x, step, relu, *map(_at, (x, center, scale, shift, y)))
    return y


def sums(
    x: Tensor, dy: Tensor, center: Tensor, scale: Tensor, shift: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of dy and dy * (x - center), dy taken through the ReLU, each (N, C)."""
    dy = _like(dy, _is_nhwc(x))
    d0, d1 = torch.empty((2, *x.shape[:2]), dtype=x.dtype).unbind()
    step = x.shape[1] if center.dim() == 2 else 0
    _run("sums", x, step, relu, *map(_at, (x, dy, center, scale, shift, d0, d1)))
    return d0, d1


def dx(
    x: Tensor,
    dy: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    slopes: tuple[Tensor, Tensor, Tensor],
    relu: bool,
) -> Tensor:
    """``A * dy + B * (x - center) + C``, dy taken through the ReLU; slopes are A, B and C."""
    dy = _like(dy, _is_nhwc(x))
    out = torch.empty_like(x)
    step = x.shape[1] if factors[0].dim() == 2 else 0
    _run("dx", x, step, relu, *map(_at, (x, dy, *factors, *slopes, out)))
    return out


class PooledPlan:
    """All that a pooled kind's forward and backward need on maps of one shape, made once.

    Args:
        x: A map as they will come.
        pools: The blocks.
        affine: Whether there are gain and bias.
        gated: Whether there is a gate.
        relu: Whether a ReLU follows.
        eps: Added to variances.
    """

    def __init__(
        self, x: Tensor, pools: Pools, *, affine: bool, gated: bool, relu: bool, eps: float
    ) -> None:
        N, C, P = _sizes(x)
        self.channels, self.relu, self.dtype = C, relu, x.dtype
        self.nhwc = _is_nhwc(x)
        self.blocks = (pools.splits, C // pools.channels)
        count = self.blocks[0] * self.blocks[1]
        self.work = 4 * N * C + 2 * count
        self.parts = slice(4 * N * C, 4 * N * C + count), slice(4 * N * C + count, self.work)
        self.planned = (not affine, not affine, not gated)  # which parameters are None
        self.threads = _threads(x)
        # The team may be smaller than asked for, and then share its work another way.
        sides = 1 + (self.threads if self.threads > 1 else 0)
        self.scratch = 5 * N * C + 3 * C * sides
        self.numbers = (ctypes.c_double * 2)(eps)
        self.pools = pools  # the tensor behind an address below stays alive with the plan
        sizes = (self.threads > 1, N, C, P, self.nhwc, relu, pools.splits, pools.channels)
        known = (*sizes, affine, gated, _at(pools.starts), ctypes.addressof(self.numbers))
        self.forward_arguments = (ctypes.c_int64 * 22)(*known)
        self.backward_arguments = (ctypes.c_int64 * 22)(*known)
        self.lock = threading.Lock()  # on the arguments: a layer may run in several threads
        self.forward_task = _task("pooled_forward", x.dtype)
        self.backward_task = _task("pooled_backward", x.dtype)

    def fits(self, weight: Tensor | None, bias: Tensor | None, gate: Tensor | None) -> bool:
        """Whether gain, bias and gate are as planned: there or not, of that dtype, contiguous."""
        return (
            (weight is None, bias is None, gate is None) == self.planned
            and (weight is None or (weight.dtype is self.dtype and weight.is_contiguous()))
            and (bias is None or (bias.dtype is self.dtype and bias.is_contiguous()))
            and (gate is None or (gate.dtype is self.dtype and gate.is_contiguous()))
        )

    def forward(
        self,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gate: Tensor | None,
        running: Running | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The normalized map, and the work space: what backward and `block_statistics` read.

        Running statistics, if given, are moved in the same call.
        """
        y = torch.empty_like(x)
        work = torch.empty(self.work, dtype=self.dtype)
        with self.lock:
            q = self.forward_arguments
            q[12], q[13], q[14] = x.data_ptr(), y.data_ptr(), work.data_ptr()
            q[15], q[16], q[17] = _at(weight), _at(bias), _at(gate)
            q[18] = 0
            if running is not None:
                mean, var, batches, momentum, per_split = running
                self.numbers[1] = momentum or 0.0
                q[18] = 1 + 2 * per_split + 4 * (momentum is None)
                q[19], q[20], q[21] = mean.data_ptr(), var.data_ptr(), batches.data_ptr()
            self.forward_task(q, self.threads)
        if running is not None:
            increment_version((running.mean, running.var, running.batches))
        return y, work

    def backward(
        self, x: Tensor, dy: Tensor, work: Tensor, weight: Tensor | None, gate: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """dx, and the gradients of gain, bias and gate: shape (C,), None of what is not there."""
        dy = _like(dy, self.nhwc)
        dx = torch.empty_like(x)
        rows = torch.empty(self.scratch, dtype=self.dtype)
        # Three tensors and no views of one: autograd's care of views costs more than they do.
        dweight = dbias = dgate = None
        if weight is not None:
            dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
        if gate is not None:
            dgate = torch.empty_like(gate)
        with self.lock:
            q = self.backward_arguments
            q[12], q[13], q[14] = x.data_ptr(), dy.data_ptr(), dx.data_ptr()
            q[15], q[16], q[17] = work.data_ptr(), _at(weight), _at(gate)
            q[18], q[19], q[20], q[21] = rows.data_ptr(), _at(dweight), _at(dbias), _at(dgate)
            self.backward_task(q, self.threads)
        return dx, dweight, dbias, dgate

    def block_statistics(self, work: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of the blocks, each (splits, groups)."""
        mean, var = (work[part].view(self.blocks) for part in self.parts)
        return mean, var
