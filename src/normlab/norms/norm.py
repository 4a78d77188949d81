"""What all norms share: channels, eps, gain and bias, and the activation behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from normlab.errors import unknown
from normlab.norms import kernels
from normlab.norms.activations import ACTIVATIONS

State = Iterator[tuple[str, Tensor | None, tuple[int, ...]]]


class Norm(nn.Module):
    """What all norms share.

    A kind declares its properties in class attributes, so that no other place lists the kinds: the
    attributes below, and the rarer ones of `normlab.norms.traits`.

    Args:
        num_channels: C, the number of channels.
        eps: Added inside the root, to keep it away from 0.
        affine: Learn a gain (starting at 1) and a bias (starting at 0) per channel.
        activation: Name of the activation applied to the result, or None.

    Attributes:
        parameter_roles: The role of each parameter, by name.
        gate_lr_factor: Learning rate of its gates, relative to that of the other parameters.
        softmax_gates: The gates that are weighted by a softmax.
        contains_activation: It contains its activation: none may follow.
        uses_batch_statistics: In training, an image's result depends on the rest of the batch.
        differs_in_eval: Training and evaluation compute different functions.

    Shape:
        Input and output (N, C, H, W). Statistics are computed in float32 or wider.
    """

    parameter_roles: ClassVar[dict[str, str]] = {"weight": "norm_gain", "bias": "norm_bias"}
    gate_lr_factor: ClassVar[float] = 1.0
    softmax_gates: ClassVar[tuple[str, ...]] = ()
    contains_activation: ClassVar[bool] = False
    uses_batch_statistics: ClassVar[bool] = False
    differs_in_eval: ClassVar[bool] = False

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
        nn.Module.__init__(self)  # not that of torch's batch norm, which may come next in line
        self._chosen: dict[tuple[str, torch.dtype], str] = {}  # backends, by device and dtype
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.activation = ACTIVATIONS[activation]() if activation else None
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def reset_parameters(self) -> None:
        """Reset gain, bias and everything that a kind adds to their initial values."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def state(self) -> State:
        """Name, tensor and shape of every parameter and statistic that a forward reads."""
        channels = (self.num_channels,)
        if self.weight is not None:
            yield "weight", self.weight, channels
        if self.bias is not None:
            yield "bias", self.bias, channels

    def check_map(self, x: Tensor) -> None:
        """Refuse an input that is not a map for this layer.

        Raises:
            ValueError: x is not (N, C, H, W) with C = `num_channels`.
            RuntimeError: Its values are integers or complex, or it is sparse.
        """
        if x.dim() != 4 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"{type(self).__name__} expects (N, {self.num_channels}, H, W), "
                f"got {tuple(x.shape)}"
            )
        if not x.is_floating_point() or x.layout is not torch.strided:
            kernels.check_numbers(type(self).__name__, x)

    def check_state(self, x: Tensor) -> None:
        """Refuse parameters and statistics that do not fit the map; see `kernels.check_state`."""
        kernels.check_state(x, self.state())

    def after_step(self) -> None:
        """Called after each optimizer step; most kinds do nothing."""

    def of_nothing(self, x: Tensor) -> Tensor:
        """The result for an empty map."""
        return self.activate(x.clone())  # an activation in place must not meet the map itself

    def activate(self, y: Tensor) -> Tensor:
        """Apply the activation behind the norm."""
        return y if self.activation is None else self.activation(y)

    def folds_relu(self) -> bool:
        """Whether the norm can compute the activation with it: a plain ReLU without hooks."""
        relu = self._modules.get("activation")
        return type(relu) is nn.ReLU and not (
            relu._forward_hooks
            or relu._forward_pre_hooks
            or relu._backward_hooks
            or relu._backward_pre_hooks
            or torch_module._global_forward_hooks
            or torch_module._global_forward_pre_hooks
            or "forward" in relu.__dict__
        )

    def extra_repr(self) -> str:
        """Channels and options, as torch prints them."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"
