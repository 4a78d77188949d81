"""Batch-instance normalization (Nam & Kim 2018, arXiv:1805.07925).

    y = gain * (rho * x_batch + (1 - rho) * x_instance) + bias

x_batch is x normalized as batch norm does, x_instance as instance norm does; rho is learned per
channel, starts at 1 (all batch) and is put back into [0, 1] after each optimizer step
(`after_step`). It is a parameter of its own role: no decay, and a learning rate 10 times the
others', as in the authors' code.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normlab.norms.batch import BatchNorm
from normlab.norms.kernels import mixed
from normlab.norms.norm import State


class BatchInstanceNorm(BatchNorm):
    """A learned mix of batch and instance norm; `rho` has shape (C,).

    Arguments as for `BatchNorm`.

    Raises:
        ValueError: In training, on 1x1 maps or one value per channel.
    """

    parameter_roles: ClassVar[dict[str, str]] = {**BatchNorm.parameter_roles, "rho": "gate"}
    gate_lr_factor: ClassVar[float] = 10.0
    gate: ClassVar[str] = "rho"

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(
            num_channels, momentum=momentum, eps=eps, affine=affine, activation=activation
        )
        self.rho = nn.Parameter(torch.ones(num_channels))

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """In evaluation the batch part uses the running statistics."""
        if self.training:
            return super().coefficients(mean, var, pixels)
        # Copies: the buffers may move before a backward.
        center, spread = (
            b.to(mean.dtype, copy=True) for b in (self.running_mean, self.running_var)
        )
        return mixed(mean, var, center, spread, self.eps, self.rho)

    def eval_affine(self) -> None:
        """Nothing is fixed in evaluation: the instance part depends on the image."""

    def state(self) -> State:
        """As for `BatchNorm`, and the gate."""
        yield from super().state()
        yield "rho", self.rho, (self.num_channels,)

    def reset_parameters(self) -> None:
        """As for `BatchNorm`; the gate is set to all batch."""
        super().reset_parameters()
        nn.init.ones_(self.rho)

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError if one of the two parts cannot normalize the batch."""
        super().check_batch(images, pixels)
        if pixels == 1:
            raise ValueError("BatchInstanceNorm needs more than 1 spatial element when training")

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp rho to [0, 1]; the training loop calls this after each optimizer step."""
        self.rho.clamp_(0, 1)
