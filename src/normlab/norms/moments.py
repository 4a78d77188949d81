"""The one mechanism behind the norms.

With mean[n,c] and var[n,c] the moments of x over height and width, a norm is

    y = gain[c] * (scale[n,c] * (x - mean[n,c]) + shift[n,c]) + bias[c],

and a kind is the few lines that turn (mean, var) into (scale, shift): see `coefficients`. The work
on the big tensor is done by primitive functions that have backends of their own
(`normlab.norms.kernels`), so a kind of your own gets fused kernels, autograd and `torch.compile`
for nothing. Kinds whose statistics are pooled over blocks of images and channels are `PooledNorm`s:
one fused operation with a written-out backward.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normlab.errors import unknown
from normlab.norms import kernels
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.kernels import Pools, Running, autograd, reference


class Norm(nn.Module):
    """What all norms share: channels, eps, gain and bias, and the activation behind them.

    A norm with further parameters names their roles in `parameter_roles`; one that takes the
    activation's place says so with `contains_activation`.

    Args:
        num_channels: C, the number of channels.
        eps: Keeps the root away from 0.
        affine: Learn a gain (starting at 1) and a bias (starting at 0) per channel.
        activation: Name of the activation applied to the result, or None.

    Shape:
        Input and output (N, C, H, W). Statistics are computed in float32 or wider.
    """

    parameter_roles: ClassVar[dict[str, str]] = {"weight": "norm_gain", "bias": "norm_bias"}
    gate_lr_factor: ClassVar[float] = 1.0
    """Learning rate of the gates over that of all else."""
    contains_activation: ClassVar[bool] = False

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        if num_channels < 1:
            raise ValueError(f"num_channels is {num_channels}: at least 1 is needed")
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(unknown("activation", activation, ACTIVATIONS))
        super().__init__()
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.activation = ACTIVATIONS[activation]() if activation else None
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is (N, C, H, W) with C = `num_channels`."""
        if x.dim() != 4 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"{type(self).__name__} expects (N, {self.num_channels}, H, W), "
                f"got {tuple(x.shape)}"
            )

    def activate(self, y: Tensor) -> Tensor:
        """The activation behind the norm."""
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        """Channels and options, as torch prints them."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"


class MomentNorm(Norm):
    """Base of the norms that are an affine map with factors made from per-(n, c) moments.

    A kind overrides `coefficients`; one with running statistics also `observe` and `fixed`.
    """

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """From moments to factors: the few differentiable lines that make a kind.

        A pure function of its arguments and the layer's state: it may run more than once a step.

        Args:
            mean: Mean per image and channel, shape (N, C).
            var: Biased variance per image and channel, shape (N, C).
            pixels: H * W, the number of values behind each.

        Returns:
            `scale` and `shift` of the normalized map ``scale * (x - mean) + shift``, before gain
            and bias; of shapes that broadcast to (N, C).
        """
        raise NotImplementedError

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """Update running statistics from the same moments: once a training step, no gradient."""

    def fixed(self) -> tuple[Tensor, Tensor] | None:
        """Center and scale per channel that hold in eval mode, or None if they depend on x."""
        return None

    refuses_in_eval: ClassVar[bool] = False
    """Whether `require` holds in eval as well: so it does in torch's instance and group norm."""

    def require(self, images: int, pixels: int) -> None:
        """Raise ValueError where a batch is too small for this kind."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; see the class for shapes.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`, or too small for the kind.
        """
        self.check(x)
        fixed = None if self.training else self.fixed()
        if fixed is not None:
            return self._fixed(x, *fixed)
        if not x.numel():
            return self.activate(x)
        if self.training or self.refuses_in_eval:
            self.require(len(x), x.shape[2] * x.shape[3])
        return self._normalized(x)

    def reference(self, x: Tensor) -> Tensor:
        """The same map of the same moments in plain torch; changes no running statistics."""
        mean, var = reference.moments(x)
        factors = self.factors(mean, var, x.shape[2] * x.shape[3])
        return self.activate(reference.affine(x, mean, *factors))

    def factors(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The whole affine map's scale and shift: `coefficients`, then gain and bias."""
        return self._with_affine(*self.coefficients(mean, var, pixels))

    def _normalized(self, x: Tensor) -> Tensor:
        backend = kernels.choose(x)
        pixels = x.shape[2] * x.shape[3]
        if backend is reference:
            mean, var = reference.moments(x)
            y = self.activate(reference.affine(x, mean, *self.factors(mean, var, pixels)))
        else:
            relu = isinstance(self.activation, nn.ReLU)
            parameters = tuple(self.parameters())
            y, mean, var = autograd.generic(backend, self, relu, x, parameters)
            y = y if relu else self.activate(y)
        if self.training:
            with torch.no_grad():
                self.observe(mean, var, pixels)
        return y

    def _fixed(self, x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        scale, shift = self._with_affine(scale, torch.zeros_like(center))
        backend = kernels.choose(x)
        if backend is reference or {center.dtype, scale.dtype, shift.dtype} != {x.dtype}:
            return self.activate(reference.affine(x, center, scale, shift))
        relu = isinstance(self.activation, nn.ReLU)
        y = autograd.affine(backend, relu, x, (center, scale, shift))
        return y if relu else self.activate(y)

    def _with_affine(self, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        if self.weight is None:
            return scale, shift
        shift = shift * self.weight
        return scale * self.weight, shift if self.bias is None else shift + self.bias


class PooledNorm(MomentNorm):
    """Base of the kinds that normalize by the statistics of blocks of images and channels.

    A kind overrides `pools`, and is one fused operation on a compiled backend. A subclass that does
    more than this in `coefficients` sets `is_pooled` to False and takes the general path.
    """

    is_pooled: ClassVar[bool] = True

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        self._plans: dict[Any, Any] = {}

    def pools(self, images: int, pixels: int) -> Pools:
        """The blocks of a batch of that many images of that many pixels."""
        raise NotImplementedError

    def gate(self) -> Tensor | None:
        """Share of the pooled result, per channel, the rest being instance norm; None is all."""
        return None

    def blocks(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Mean and variance each row is normalized with, of shapes that broadcast to (N, C)."""
        pools = self.pools(len(mean), pixels)
        return tuple(pools.spread(block) for block in pools.pool(mean, var))  # type: ignore[return-value]

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The root of the block's variance, and how far the row's mean is from the block's."""
        block_mean, block_var = self.blocks(mean, var, pixels)
        scale = torch.rsqrt(block_var + self.eps)
        shift = (mean - block_mean) * scale
        gate = self.gate()
        if gate is None:
            return scale, shift
        return gate * scale + (1 - gate) * torch.rsqrt(var + self.eps), gate * shift

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """Hand the blocks' statistics to `observe_blocks`."""
        self.observe_blocks(*self.pools(len(mean), pixels).pool(mean, var), len(mean), pixels)

    def observe_blocks(self, mean: Tensor, var: Tensor, images: int, pixels: int) -> None:
        """Update running statistics from those of the blocks, each (splits, groups)."""

    def running_statistics(self, dtype: torch.dtype) -> Running | None:
        """What a compiled backend may move for maps of this dtype, in place of `observe_blocks`.

        None where there is nothing to move, or only `observe_blocks` can.
        """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; see the class for shapes.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`, or too small for the kind.
        """
        plan = None
        if not kernels.is_traced(x):
            # On small maps a look-up costs as much as the arithmetic: what is cheap to ask for.
            key = (
                x.shape, x.stride(), x.dtype, x.is_cpu, self.training, self.eps,
                self.activation, torch.get_num_threads(),
            )  # fmt: skip
            try:
                plan = self._plans[key]
            except KeyError:
                plan = self._plans[key] = self._plan(x)
        if plan is None:
            return super().forward(x)
        parts = self.weight, self.bias, self.gate()
        if not plan.fits(*parts):
            return super().forward(x)
        running = self.running_statistics(x.dtype) if self.training else None
        y, work = autograd.pooled(plan, self, x, *parts, running)
        if self.training and running is None:
            self._observe_plan(plan, work, x)
        return y if plan.relu else self.activate(y)

    def _observe_plan(self, plan: Any, work: Tensor, x: Tensor) -> None:
        """Hand the statistics of a plan's blocks on; only kinds that observe pay for it."""
        if type(self).observe_blocks is not PooledNorm.observe_blocks:
            mean, var = plan.block_statistics(work)
            self.observe_blocks(mean, var, len(x), x.shape[2] * x.shape[3])

    def _plan(self, x: Tensor) -> Any:
        """The plan of a compiled backend for maps like x, or None for the general path."""
        self.check(x)
        running = type(self).blocks is not PooledNorm.blocks
        if not x.numel() or not self.is_pooled or (running and not self.training):
            return None
        if self.training or self.refuses_in_eval:
            self.require(len(x), x.shape[2] * x.shape[3])
        backend = kernels.choose(x)
        make = getattr(backend, "PooledPlan", None)
        if make is None:
            return None
        return make(
            x,
            self.pools(len(x), x.shape[2] * x.shape[3]),
            affine=self.weight is not None,
            gated=self.gate() is not None,
            relu=isinstance(self.activation, nn.ReLU),
            eps=self.eps,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the plans: they hold addresses of this process."""
        return {**self.__dict__, "_plans": {}}
