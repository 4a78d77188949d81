"""Norms as differentiable operations over a compiled backend, with their backward written out.

Pooled kinds are one operation: forward and backward are a call into the backend each. Of the big
tensors only x is kept: the output is not needed, and the ReLU's mask is made again from x.

Any other kind is three steps, `moments`, the kind's own lines on (N, C) under autograd, and `affine`:

    mean, var = moments(x);  scale, shift = the kind's lines;  y = scale * (x - mean) + shift

so that whatever the lines use, a parameter, another net's output, a buffer, gets its gradient. The
backward of `affine` hands dy on to that of `moments`, which then makes dx in one pass:
dx = scale * dy + dmean / P + 2 * dvar / P * (x - mean).

Every backward is a function of what its forward saved. Where derivatives of it are asked for, or a
tensor came back from a hook as no loop can read it, it is made of torch's own operations.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from normlab.norms.kernels import reference
from normlab.norms.kernels.boundary import is_traced
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
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """A kind whose statistics are those of blocks.

    Returns:
        The normalized map; and the blocks' means and variances, where the backend has not moved
        the running statistics by them: each (splits, groups).
    """
    found: list[Any] = []  # beside the outputs: one less for autograd to wrap
    y: Tensor = _Pooled.apply(backend, spec, running, found, x, weight, bias, gate)  # type: ignore[no-untyped-call]
    return y, found[0]


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
    passed, mean, var = _Moments.apply(backend, link, x)  # type: ignore[no-untyped-call]
    scale, shift = (
        factor.to(mean.dtype).expand(mean.shape).contiguous() for factor in factors(mean, var)
    )
    y: Tensor = _Affine.apply(backend, link, relu, passed, mean, scale, shift)  # type: ignore[no-untyped-call]
    return y, mean, var


def affine(
    backend: ModuleType, relu: bool, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """``scale * (x - mean) + shift`` with factors per channel, (C,): norms in eval mode."""
    y: Tensor = _Affine.apply(backend, None, relu, x, mean, scale, shift)  # type: ignore[no-untyped-call]
    return y


class _Pooled(Function):
    """A kind whose statistics are those of blocks, with or without a gate to instance norm."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: ModuleType,
        spec: Spec,
        running: Running | None,
        found: list[Any],
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        """The normalized map; into `found` what is left to do for the running statistics."""
        made = backend.pooled_forward(spec, x, weight, bias, gate, running)
        stats: tuple[Tensor | None, ...] = (None, None)
        if made is None:
            y, *blocks = reference.pooled(spec, x, weight, bias, gate)
            found.append(tuple(blocks))
        else:
            y, stats = made
            found.append(None if running else backend.block_statistics(spec, x, stats))
        ctx.save_for_backward(x, weight, bias, gate, *stats)
        ctx.fixed = (backend, spec)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x, gain, bias and gate."""
        backend, spec = ctx.fixed
        *inputs, stats, own = ctx.saved_tensors
        if stats is not None and not _is_looked_at(dy):
            x, *parameters = inputs
            if backend.supports(x):
                made = backend.pooled_backward(spec, x, dy, (stats, own), *parameters)
                if made is not None:
                    return None, None, None, None, *made
        wanted = ctx.needs_input_grad[4:]
        again = _differentiated(lambda *given: reference.pooled(spec, *given)[0], inputs, wanted, dy)
        return None, None, None, None, *again


class _Link:
    """Carries dy from the backward of `_Affine` to that of `_Moments`, in the thread that runs both."""

    def __init__(self) -> None:
        self.passed: tuple[Tensor, ...] | None = None

    def take(self) -> tuple[Tensor, ...] | None:
        """What was passed, once."""
        passed, self.passed = self.passed, None
        return passed


class _Moments(Function):
    """Mean and variance of every (n, c); x passes through, so that its gradients meet here."""

    @staticmethod
    def forward(
        ctx: Any, backend: ModuleType, link: _Link, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x, mean and biased variance."""
        mean, var = backend.moments(x)
        ctx.save_for_backward(x, mean, var)
        ctx.fixed = (backend, link)
        ctx.set_materialize_grads(False)
        return x.view_as(x), mean, var

    @staticmethod
    def backward(
        ctx: Any, dx: Tensor | None, dmean: Tensor | None, dvar: Tensor | None
    ) -> Gradients:
        """dx by all three ways."""
        backend, link = ctx.fixed
        x, mean, var = ctx.saved_tensors
        passed = link.take()
        if passed is not None:
            dy, scale, shift, relu = passed
            zero = torch.zeros_like(mean)
            slopes = var, zero if dmean is None else dmean, zero if dvar is None else dvar
            return None, None, backend.dx(x, dy, (mean, scale, shift), relu, slopes)
        pixels = x.shape[2] * x.shape[3]
        if dvar is not None:
            centered = x - mean[..., None, None]
            dx = _plus(dx, (2 / pixels) * dvar[..., None, None] * centered)
        if dmean is not None:
            dx = _plus(dx, (dmean / pixels)[..., None, None].expand_as(x))
        return None, None, None if dx is None else dx.to(x.dtype)


class _Affine(Function):
    """The affine map alone: ``scale * (x - mean) + shift`` and ReLU, factors (N, C) or (C,)."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: ModuleType,
        link: _Link | None,
        relu: bool,
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
        if _is_looked_at(dy) or not backend.supports(x) or dy.dtype is not x.dtype:
            again = _differentiated(
                lambda *given: reference.affine(*given, relu), saved, ctx.needs_input_grad[3:], dy
            )
            return None, None, None, *again
        dmean = dscale = dshift = dx = None
        if any(ctx.needs_input_grad[4:]):
            d0, d1 = backend.sums(x, dy, mean, scale, shift, relu)
            if mean.dim() == 1:
                d0, d1 = d0.sum(dim=0), d1.sum(dim=0)
            dmean, dscale, dshift = -scale * d0, d1, d0
        if ctx.needs_input_grad[3]:
            if link is None:
                dx = backend.dx(x, dy, (mean, scale, shift), relu)
            else:  # `_Moments` makes it; here only a sign that there is one
                link.passed = (dy, scale, shift, relu)
                dx = dy
        return None, None, None, dx, dmean, dscale, dshift


def _plus(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b


def _is_looked_at(dy: Tensor) -> bool:
    """Whether the backward itself is differentiated, or its operations are watched."""
    return torch.is_grad_enabled() or is_traced(dy)


def _differentiated(
    forward: Callable[..., Tensor], inputs: Any, wanted: Any, dy: Tensor
) -> Gradients:
    """Gradients from the same map made again in plain torch; differentiable if they are to be."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Without a graph beyond: what is saved is all the backward depends on.
        given = [
            value if again or value is None else value.detach().requires_grad_(is_wanted)
            for value, is_wanted in zip(inputs, wanted, strict=True)
        ]
        leaves = [g for g, w in zip(given, wanted, strict=True) if g is not None and w]
        y = forward(*given)
        found = iter(torch.autograd.grad(y, leaves, dy.to(y.dtype), create_graph=again, allow_unused=True))
    return tuple(
        next(found) if value is not None and is_wanted else None
        for value, is_wanted in zip(given, wanted, strict=True)
    )
