"""The general path: any norm that is an affine map with factors made from per-channel moments.

With mean[n,c] and var[n,c] the moments of x over height and width, a norm is

    y = gain[c] * (scale[n,c] * (x - mean[n,c]) + shift[n,c]) + bias[c],

and a kind is the few lines that turn (mean, var) into (scale, shift): see `coefficients`. The work
on the big tensor is done by primitive functions that have backends of their own
(`normlab.norms.kernels`), so a kind of your own gets compiled loops, autograd and `torch.compile`
with them. Kinds whose statistics are those of blocks of images and channels are described rather
than programmed: `normlab.norms.pooled`.
"""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor

from normlab.norms import kernels
from normlab.norms.kernels import autograd, reference
from normlab.norms.norm import Norm


class MomentNorm(Norm):
    """Base of the norms that are an affine map with factors computed from per-(n, c) moments.

    A kind overrides `coefficients`; one with running statistics (`normlab.norms.running`) also
    `observe` and `eval_affine`.
    """

    refuses_in_eval: ClassVar[bool] = False
    """Whether `check_batch` applies in evaluation too, as in torch's instance and group norm."""

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """From moments to factors: the few differentiable lines that define a kind.

        Args:
            mean: Mean per image and channel, shape (N, C); float64 on compiled loops.
            var: Biased variance per image and channel, shape (N, C).
            pixels: H * W, the number of values behind each moment.

        Returns:
            `scale` and `shift` of the normalized map ``scale * (x - mean) + shift``, before gain
            and bias; of shapes that broadcast to (N, C).
        """
        raise NotImplementedError

    def observe(self, mean: Tensor, var: Tensor, pixels: int) -> None:
        """Update running statistics from the same moments, once per training step, no gradient."""

    def eval_affine(self) -> tuple[Tensor, Tensor] | None:
        """Center and scale per channel for evaluation, or None if they depend on x."""
        return None

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError if a batch is too small for this kind."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; see the class for shapes.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`, or too small for the kind; a
                parameter or statistic has another shape.
            RuntimeError: x is not of real floating point numbers, or on another device.
        """
        self.check_map(x)
        self.check_state(x)
        if not self.training:
            fixed = self.eval_affine()
            if fixed is not None:
                return self._evaluated(x, *fixed)
        if not x.numel():
            return self.of_nothing(x)
        if self.training or self.refuses_in_eval:
            self.check_batch(x.shape[0], x.shape[2] * x.shape[3])
        return self._normalized(x)

    def factors(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The whole affine map's scale and shift: `coefficients`, then gain and bias."""
        scale, shift = self.coefficients(mean, var, pixels)
        return reference.with_affine(scale, shift, self.weight, self.bias)

    def _normalized(self, x: Tensor) -> Tensor:
        pixels, relu = x.shape[2] * x.shape[3], self.folds_relu()
        x, backend = (x, reference) if kernels.is_traced(x) else self._readable(x)
        if backend is reference:
            # Widened once: both ways to x meet in float32, and dx is rounded to half once.
            wide = x.to(reference.statistics_dtype(x))
            mean, var = reference.moments(wide)
            y = reference.affine(wide, mean, *self.factors(mean, var, pixels), relu).to(x.dtype)
        else:
            y, mean, var = autograd.general(
                backend, x, relu, lambda mean, var: self.factors(mean, var, pixels)
            )
        if self.training:
            with torch.no_grad():
                self.observe(mean.detach(), var.detach(), pixels)
        return y if relu else self.activate(y)

    def _evaluated(self, x: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        scale, shift = reference.with_affine(
            scale, torch.zeros_like(center), self.weight, self.bias
        )
        relu = self.folds_relu()
        x, backend = (x, reference) if kernels.is_traced(x) else self._readable(x)
        if backend is reference or not x.numel():
            y = reference.affine(x, center, scale, shift, relu)
        else:
            # A copy: the buffers may move before a backward.
            center = center.to(torch.float64, copy=True)
            y = autograd.affine(backend, relu, x, center, scale.double(), shift.double())
        return y if relu else self.activate(y)

    def _readable(self, x: Tensor) -> tuple[Tensor, ModuleType]:
        """The map, copied where no loop could read it as it lies, and the backend for it."""
        backend = self._backend(x)
        if backend is not reference and not backend.supports(x):
            x = x.clone(memory_format=torch.contiguous_format)
            backend = backend if backend.supports(x) else reference
        return x, backend

    def _backend(self, x: Tensor) -> ModuleType:
        """The backend by the table, asked once a layer for a device and dtype."""
        key = x.device.type, x.dtype
        name = self._chosen.get(key)
        if name is None:
            name = self._chosen[key] = kernels.by_table(*key).NAME
        return kernels.load(name)
