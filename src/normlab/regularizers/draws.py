"""How masks are drawn, so that a recomputed forward has the mask of the first one.

Activation checkpointing (`torch.utils.checkpoint`) runs a block's forward once more during the
backward pass. Before it does, it puts torch's global random state back to where it stood, and knows
of no other generator. So a draw from a generator of its own also takes one number from the global
CPU state, the call's ticket. In the recomputation the ticket comes up again and says which call is
repeated; the generator goes back to its state at that call, and afterwards to where it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from normlab.errors import UserError

REMEMBERED = 1024
"""Calls per generator that can be repeated; the state of each takes 5 kB on the CPU."""

_CALLS: WeakKeyDictionary[torch.Generator, OrderedDict[int, Tensor | None]] = WeakKeyDictionary()
"""Per generator: ticket -> state before the draw, None where two calls had one ticket."""


_MODES = torch._C._TorchDispatchModeKey
_TRACERS = (_MODES.FAKE, _MODES.PROXY, _MODES.FUNCTIONAL)


class RecomputedMaskError(UserError, RuntimeError):
    """A forward runs again during backward, and it is unclear which call it repeats."""


def check_p(p: float) -> None:
    """Refuse what is no probability of being dropped.

    Raises:
        ValueError: `p` is below 0, 1 or above, or NaN.
    """
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}: at least 0 and below 1 is allowed")


def real_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a mask for x: x's own, of a complex x that of its parts.

    Raises:
        RuntimeError: x has whole numbers, which cannot be scaled; torch's dropouts raise this too.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(f"x is {x.dtype}: values are scaled by 1 / (1 - p), so float is needed")
    return x.dtype.to_real() if x.is_complex() else x.dtype


def keep(x: Tensor, shape: tuple[int, ...], p: float, generator: torch.Generator | None) -> Tensor:
    """Factors for x, one per unit: 0 with probability p, else 1 / (1 - p); of the given shape."""
    check_p(p)
    dtype = real_dtype(x)
    return draw(lambda source: bernoulli(x, shape, p, dtype, source), x, generator)


def bernoulli(
    x: Tensor, shape: tuple[int, ...], p: float, dtype: torch.dtype, source: torch.Generator | None
) -> Tensor:
    """As `keep`, drawn here and now: what `draw` is to be given."""
    if not is_of_maps(x, shape):
        return x.new_empty(shape, dtype=dtype).bernoulli_(1 - p, generator=source).div_(1 - p)
    drawn = x.new_empty(channels_last(shape), dtype=dtype).bernoulli_(1 - p, generator=source)
    return lying_as(x, drawn.div_(1 - p))


def is_of_maps(x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether factors of a shape are one for each value of maps (N, C, H, W).

    Those are drawn pixel by pixel, so that maps in either layout get the same ones.
    """
    return len(shape) == x.ndim == 4 and shape[2:] == x.shape[2:] and not is_traced(x)


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N, H, W, C) of maps (N, C, H, W)."""
    return (shape[0], *shape[2:], shape[1])


def lying_as(x: Tensor, drawn: Tensor) -> Tensor:
    """Factors (N, H, W, C) as (N, C, H, W), lying as x does.

    A product of two tensors that lie differently takes ten times as long.
    """
    factors = drawn.permute(0, 3, 1, 2)
    return factors.contiguous() if x.is_contiguous() else factors


def is_traced(x: Tensor) -> bool:
    """Whether x is computed on by torch alone: in a compiler, a transform, on no real values."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or type(x) not in (Tensor, nn.Parameter)
        or any(torch._C._get_dispatch_mode(mode) is not None for mode in _TRACERS)
    )


def draw(
    make: Callable[[torch.Generator | None], Tensor], x: Tensor, generator: torch.Generator | None
) -> Tensor:
    """A mask for x that `make` draws; again the same if this call is a recomputation.

    Raises:
        RecomputedMaskError: It is one of a call that is not known: torch's global state was not
            put back, or too many calls ago.
    """
    if not is_traced(x) and torch._C._len_torch_dispatch_stack():
        # Selective checkpointing would keep a mask from before it was filled in place.
        with _disable_current_modes():
            return _draw(make, generator)
    return _draw(make, generator)


def _draw(
    make: Callable[[torch.Generator | None], Tensor], generator: torch.Generator | None
) -> Tensor:
    # torch's own state needs no help: checkpointing puts it back, compilers know it.
    if generator is None:
        return make(None)
    if torch.compiler.is_compiling():
        drawn: Tensor = _outside_of_graphs(make, generator)
        return drawn
    return _draw_from_own_generator(make, generator)


def _draw_from_own_generator(
    make: Callable[[torch.Generator | None], Tensor], generator: torch.Generator
) -> Tensor:
    calls = _CALLS.setdefault(generator, OrderedDict())
    ticket, now = _ticket(), generator.get_state()
    if torch._C._current_graph_task_id() == -1:  # not within a backward pass: a new call
        calls[ticket] = None if ticket in calls else now
        if len(calls) > REMEMBERED:
            calls.popitem(last=False)
        return make(generator)
    generator.set_state(_state_at(calls, ticket))
    try:
        return make(generator)
    finally:
        generator.set_state(now)


# `torch.compiler.disable` would import the compiler here: a second of every worker's start.
_outside_of_graphs = torch._disable_dynamo(  # type: ignore[attr-defined]
    _draw_from_own_generator
)


def _state_at(calls: OrderedDict[int, Tensor | None], ticket: int) -> Tensor:
    """The generator's state at the call that is repeated."""
    # A single call needs no ticket: it can only be that one.
    state = next(iter(calls.values())) if len(calls) == 1 else calls.get(ticket)
    if state is None:
        raise RecomputedMaskError(
            f"a layer that drops with a generator of its own is recomputed in the backward pass, "
            f"and which of its {len(calls)} calls is repeated cannot be told: call "
            "torch.utils.checkpoint with preserve_rng_state=True (its default), do not seed torch "
            f"within the forward, run backward within {REMEMBERED} calls, or leave the layer's "
            "generator None"
        )
    return state


def _ticket() -> int:
    """A number from torch's global CPU state, which is drawn whatever mode torch is in."""
    functorch = torch._C._are_functorch_transforms_active()
    if functorch or torch._C._len_torch_dispatch_stack():
        with _disable_current_modes(), torch._C._DisableFuncTorch():
            return _number()
    return _number()


def _number() -> int:
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_())
