"""Norms as single operations over a compiled backend, with their backward written out.

Each reads x twice forward (moments, then the affine map) and x and dy twice backward (their sums,
then dx), and keeps of the big tensors x alone: the output is not needed, and the ReLU's mask is
made again from x. The backward of both is one formula per pixel, dx = A * dy + B * (x - mean) + C,
with A, B and C per image and channel from the backward of the small part.

Double backward goes through the plain-torch reference.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

if TYPE_CHECKING:
    from normlab.norms.kernels.cpu import PooledPlan
    from normlab.norms.kernels.pools import Running


class Layer(Protocol):
    """What a layer must offer: see `normlab.norms.moments.MomentNorm`."""

    def factors(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Scale and shift of the affine map, from the moments."""

    def reference(self, x: Tensor) -> Tensor:
        """The same map in plain torch."""


Gradients = tuple[Tensor | None, ...]


def generic(
    backend: ModuleType, layer: Layer, relu: bool, x: Tensor, parameters: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Any kind: its `coefficients` run under autograd on the (N, C) arrays alone.

    Returns:
        The normalized map and the moments it was made from.
    """
    found: tuple[Tensor, Tensor, Tensor]
    found = _Generic.apply(backend, layer, relu, x, *parameters)  # type: ignore[no-untyped-call]
    return found


def pooled(
    plan: PooledPlan,
    layer: Layer,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    gate: Tensor | None,
    running: Running | None,
) -> tuple[Tensor, Tensor]:
    """A kind whose statistics are those of blocks, by a plan made for maps like x.

    Returns:
        The normalized map, and the work space that `plan.block_statistics` reads.
    """
    works: list[Tensor] = []  # beside the outputs: one less for autograd to wrap
    y: Tensor = _Pooled.apply(plan, layer, works, running, x, weight, bias, gate)  # type: ignore[no-untyped-call]
    return y, works[0]


def affine(
    backend: ModuleType, relu: bool, x: Tensor, factors: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """The affine map alone, by center, scale and shift per channel: norms in eval mode."""
    y: Tensor = _Affine.apply(backend, relu, x, *factors)  # type: ignore[no-untyped-call]
    return y


class _Generic(Function):
    """Any kind: its `coefficients` run under autograd on the (N, C) arrays alone."""

    @staticmethod
    def forward(
        ctx: Any, backend: ModuleType, layer: Layer, relu: bool, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The normalized map, and the moments it was made from."""
        mean, var = backend.moments(x)
        with torch.enable_grad():
            leaves = mean.detach().requires_grad_(), var.detach().requires_grad_()
            made = layer.factors(*leaves, x.shape[2] * x.shape[3])
            factors = tuple(factor.to(mean.dtype).expand_as(mean).contiguous() for factor in made)
        scale, shift = (factor.detach() for factor in factors)
        ctx.save_for_backward(x, mean, scale, shift, *parameters)
        ctx.small = (leaves, factors)
        ctx.fixed = (backend, layer, relu)
        ctx.mark_non_differentiable(mean, var)
        return backend.affine(x, mean, scale, shift, relu), mean, var

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> Gradients:
        """Gradients of x and of every parameter the kind used."""
        backend, layer, relu = ctx.fixed
        x, mean, scale, shift, *parameters = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            again = _reference(lambda: layer.reference(x), (x, *parameters), dy)
            return None, None, None, *again
        d0, d1 = backend.sums(x, dy, mean, scale, shift, relu)
        leaves, factors = ctx.small
        wanted = [*leaves, *(p for p in parameters if p.requires_grad)]
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            factors, wanted, (d1, d0), retain_graph=True, allow_unused=True
        )
        dmean, dvar = (torch.zeros_like(mean) if g is None else g for g in found[:2])
        rest = iter(found[2:])
        pixels = x.shape[2] * x.shape[3]
        slopes = (scale, 2 * dvar / pixels, (dmean - scale * d0) / pixels)
        dx = (
            backend.dx(x, dy, (mean, scale, shift), slopes, relu)
            if ctx.needs_input_grad[3]
            else None
        )
        return None, None, None, dx, *(next(rest) if p.requires_grad else None for p in parameters)


class _Pooled(Function):
    """A kind whose statistics are those of blocks, with or without a gate to instance norm."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: PooledPlan,
        layer: Layer,
        works: list[Tensor],
        running: Running | None,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        """The normalized map; the work space goes into `works`."""
        y, work = plan.forward(x, weight, bias, gate, running)
        works.append(work)
        ctx.save_for_backward(x, weight, bias, gate)
        ctx.fixed = (plan, layer, work)  # the work space is nobody else's: it needs no hooks
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x, gain, bias and gate."""
        plan, layer, work = ctx.fixed
        x, weight, bias, gate = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            again = _reference(lambda: layer.reference(x), (x, weight, bias, gate), dy)
            return None, None, None, None, *again
        return None, None, None, None, *plan.backward(x, dy, work, weight, gate)


class _Affine(Function):
    """The affine map alone, with factors per channel: norms in eval mode."""

    @staticmethod
    def forward(
        ctx: Any,
        backend: ModuleType,
        relu: bool,
        x: Tensor,
        center: Tensor,
        scale: Tensor,
        shift: Tensor,
    ) -> Tensor:
        """``scale * (x - center) + shift``, factors of shape (C,)."""
        ctx.save_for_backward(x, center, scale, shift)
        ctx.fixed = (backend, relu)
        y: Tensor = backend.affine(x, center, scale, shift, relu)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x and the three factors."""
        backend, relu = ctx.fixed
        x, center, scale, shift = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            from normlab.norms.kernels import reference

            factors = (x, center, scale, shift)
            return None, None, *_reference(lambda: reference.affine(*factors, relu), factors, dy)
        dcenter = dscale = dshift = dx = None
        if any(ctx.needs_input_grad[3:]):
            d0, d1 = (rows.sum(dim=0) for rows in backend.sums(x, dy, center, scale, shift, relu))
            dcenter, dscale, dshift = -scale * d0, d1, d0
        if ctx.needs_input_grad[2]:
            zero = torch.zeros_like(scale)
            dx = backend.dx(x, dy, (center, scale, shift), (scale, zero, zero), relu)
        return None, None, dx, dcenter, dscale, dshift


def _reference(
    forward: Callable[[], Tensor], inputs: tuple[Tensor | None, ...], dy: Tensor
) -> Gradients:
    """Differentiable gradients, from the same map made again in plain torch."""
    wanted = [value for value in inputs if value is not None and value.requires_grad]
    with torch.enable_grad():
        found = iter(
            torch.autograd.grad(forward(), wanted, dy, create_graph=True, allow_unused=True)
        )
    return tuple(
        next(found) if value is not None and value.requires_grad else None for value in inputs
    )
