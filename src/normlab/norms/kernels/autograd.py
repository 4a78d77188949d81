"""Norms as differentiable operations over a compiled backend, with their backward written out.

Pooled kinds are one operation: forward and backward are a call into the backend each. Of the big
tensors only x is kept: the output is not needed, and the ReLU's mask is made again from x.

Any other kind is three steps: `moments`, the kind's own lines on (N, C) under autograd, `affine`.

    mean, var = moments(x);  scale, shift = the kind's lines;  y = scale * (x - mean) + shift

so that whatever the lines use, a parameter, another net's output, a buffer, gets its gradient. The
backward of `affine` hands dy on to that of `moments`, which then makes dx in one pass, for both:
dx = scale * dy + dmean / P + 2 * dvar / P * (x - mean).

Every backward is a function of what its forward saved. Where derivatives of it are asked for, or a
tensor came back from a hook as no loop can read it, it is made of torch's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from normlab.native.tensors import is_looked_at
from normlab.norms.kernels import reference
from normlab.norms.kernels.boundary import check_state
from normlab.norms.kernels.spec import Running, Spec

Gradients = tuple[Tensor | None, ...]


def pooled(
    backend: ModuleType,
    spec: Spec,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    running: Running | None,
    observed: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """A kind whose statistics are those of blocks.

    Returns:
        The normalized map; and, if `observed`, the blocks' means and variances, each (splits,
        groups), unless the backend has moved the running statistics by them.
    """
    if x.dtype is torch.bfloat16:  # loops read float32 beside such maps
        weight, bias, gate = _widened(weight), _widened(bias), _widened(gate)
    found: list[Any] = []  # beside the outputs: one less for autograd to wrap
    fixed = backend, spec, running, found  # one argument: autograd looks at each
    y: Tensor = _apply_pooled(fixed, x, weight, bias, gate)
    stats, blocks = found
    if observed and blocks is None and running is None:
        blocks = backend.block_statistics(spec, x, stats)
    return y, blocks


def general(
    backend: ModuleType,
    x: Tensor,
    relu: bool,
    factors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Tensor]:
    """Any kind: `factors` makes scale and shift from mean and variance, under autograd.

    Returns:
        The normalized map, and the moments it was made from, (N, C).
    """
    link = _Link()
    token, mean, var = _Moments.apply(backend, link, x)  # type: ignore[no-untyped-call]
    scale, shift = (
        factor.to(mean.dtype).expand(mean.shape).contiguous() for factor in factors(mean, var)
    )
    y: Tensor = _Affine.apply(backend, link, relu, token, x, mean, scale, shift)  # type: ignore[no-untyped-call]
    return y, mean, var


def affine(
    backend: ModuleType, relu: bool, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """``scale * (x - mean) + shift`` with factors per channel, (C,): norms in eval mode."""
    y: Tensor = _Affine.apply(backend, None, relu, None, x, mean, scale, shift)  # type: ignore[no-untyped-call]
    return y


def _widened(parameter: Tensor | None) -> Tensor | None:
    """A bfloat16 parameter in float32, under autograd; any other as it is."""
    narrow = parameter is not None and parameter.dtype is torch.bfloat16
    return parameter.float() if parameter is not None and narrow else parameter


class _Pooled(Function):
    """A kind whose statistics are those of blocks, with or without a gate to instance norm."""

    @staticmethod
    def forward(
        ctx: Any,
        fixed: tuple[ModuleType, Spec, Running | None, list[Any]],
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        """The normalized map; into `found` what is left to do for the running statistics."""
        backend, spec, running, found = fixed
        plan, made = backend.plan(spec, x), None
        if plan is not None:
            made = backend.pooled_forward(plan, x, weight, bias, gate, running)
        if made is None:
            channels = (x.shape[1],)
            names = ("weight", weight), ("bias", bias), (spec.gate, gate)
            check_state(x, [(name, p, channels) for name, p in names if p is not None])
            y, *blocks = reference.pooled(spec, x, weight, bias, gate)
            stats = own = None
            found += None, tuple(blocks)
        else:
            y, stats, own = made
            found += stats, None
        ctx.save_for_backward(x, weight, bias, gate)
        # Nobody else has the last two: no hook sees them.
        ctx.fixed = (backend, spec, plan, stats, own)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x, gain, bias and gate."""
        backend, spec, plan, stats, own = ctx.fixed
        x, weight, bias, gate = ctx.saved_tensors
        if stats is not None and not is_looked_at(dy):
            dy = dy if dy.dtype is x.dtype else dy.to(x.dtype)
            made = backend.pooled_backward(plan, x, dy, stats, own, weight, bias, gate)
            if made is not None:
                return None, *made
        again = _differentiated(
            lambda *given: reference.pooled(spec, *given)[0],
            (x, weight, bias, gate),
            ctx.needs_input_grad[1:],
            dy,
        )
        return None, *again


# Without Function's own lines for functorch, under which nothing gets here (`is_traced`).
_apply_pooled: Callable[..., Any] = super(Function, _Pooled).apply


class _Link:
    """Carries dy from the backward of `_Affine` to that of `_Moments`, run by the same thread."""

    def __init__(self) -> None:
        self.passed: dict[int, tuple[Any, ...]] = {}

    def give(self, *passed: object) -> None:
        """Hand on; nothing takes back what a backward before this has left."""
        self.passed.pop(get_ident(), None)
        if passed:
            self.passed[get_ident()] = passed

    def take(self) -> tuple[Any, ...] | None:
        """What was handed on, once."""
        return self.passed.pop(get_ident(), None)


class _Moments(Function):
    """Mean and variance of every (n, c), and a token that ties `_Affine` to this."""

    @staticmethod
    def forward(
        ctx: Any, backend: ModuleType, link: _Link, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The token, mean and biased variance."""
        mean, var = backend.moments(x)
        ctx.save_for_backward(x, mean, var)
        ctx.fixed = (backend, link)
        ctx.set_materialize_grads(False)
        return mean.new_empty(0), mean, var

    @staticmethod
    def backward(
        ctx: Any, _: Tensor | None, dmean: Tensor | None, dvar: Tensor | None
    ) -> Gradients:
        """dx by the moments, and by the affine map too where that has handed it on."""
        backend, link = ctx.fixed
        x, mean, var = ctx.saved_tensors
        passed = link.take()
        if passed is not None:
            dy, scale, shift, relu = passed
            zero = torch.zeros_like(mean)
            slopes = var, zero if dmean is None else dmean, zero if dvar is None else dvar
            return None, None, backend.dx(x, dy, (mean, scale, shift), relu, slopes)
        pixels, dx = x.shape[2] * x.shape[3], None
        if dvar is not None:
            dx = (2 / pixels) * dvar[..., None, None] * (x - mean[..., None, None])
        if dmean is not None:
            level = (dmean / pixels)[..., None, None].expand_as(x)
            dx = level if dx is None else dx + level
        return None, None, None if dx is None else dx.to(x.dtype)


class _Affine(Function):
    """The affine map alone: ``scale * (x - mean) + shift`` and ReLU, factors (N, C) or (C,)."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: ModuleType,
        link: _Link | None,
        relu: bool,
        _: Tensor | None,
        x: Tensor,
        mean: Tensor,
        scale: Tensor,
        shift: Tensor,
    ) -> Tensor:
        """The normalized map."""
        ctx.save_for_backward(x, mean, scale, shift)
        ctx.fixed = (backend, link, relu)
        y: Tensor = backend.affine(x, mean, scale, shift, relu)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x and the factors."""
        backend, link, relu = ctx.fixed
        saved = x, mean, scale, shift = ctx.saved_tensors
        if link is not None:
            link.give()
        if is_looked_at(dy) or not _is_readable(backend, saved):
            forward = partial(reference.affine, relu=relu)
            again = _differentiated(forward, saved, ctx.needs_input_grad[4:], dy)
            return None, None, None, None, *again
        dy = dy.to(x.dtype)
        dmean = dscale = dshift = dx = None
        if any(ctx.needs_input_grad[5:]):
            d0, d1 = backend.sums(x, dy, mean, scale, shift, relu)
            if mean.dim() == 1:
                d0, d1 = d0.sum(dim=0), d1.sum(dim=0)
            dmean, dscale, dshift = -scale * d0, d1, d0
        if ctx.needs_input_grad[4]:
            if link is None:
                dx = backend.dx(x, dy, (mean, scale, shift), relu)
            else:  # `_Moments` makes it
                link.give(dy, scale, shift, relu)
        return None, None, None, None, dx, dmean, dscale, dshift


def _is_readable(backend: ModuleType, saved: tuple[Tensor, ...]) -> bool:
    """Whether saved tensors, which hooks may have changed, are as the backend made them."""
    x, *factors = saved
    wide = backend.moments_dtype(x)
    return backend.supports(x) and all(f.dtype is wide and f.device == x.device for f in factors)


def _differentiated(
    forward: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    dy: Tensor,
) -> Gradients:
    """Gradients from the same map made again in plain torch; differentiable if they are to be."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: what one input owes to another is not this function's. Without a graph beyond
        # unless derivatives are asked for: what is saved is all that a backward depends on.
        given = [
            None if value is None else _alias(value if again else value.detach())
            for value in inputs
        ]
        leaves = [g for g, w in zip(given, wanted, strict=True) if g is not None and w]
        for leaf in leaves:
            if not leaf.requires_grad:
                leaf.requires_grad_()
        y = forward(*given)
        dy = dy.to(device=y.device, dtype=y.dtype)
        found = iter(torch.autograd.grad(y, leaves, dy, create_graph=again, allow_unused=True))
    made = (
        next(found) if value is not None and is_wanted else None
        for value, is_wanted in zip(given, wanted, strict=True)
    )
    return tuple(
        None if gradient is None or value is None else gradient.to(value.dtype)
        for gradient, value in zip(made, inputs, strict=True)
    )


def _alias(value: Tensor) -> Tensor:
    """Another tensor of the same values; on the CPU in float64, whose range no square leaves."""
    wide = value.device.type == "cpu" and value.dtype is not torch.float64
    return value.double() if wide else value.view_as(value)
