"""Scaled weight standardization (Brock, De & Smith 2021, arXiv:2101.08692).

    w_hat = gain * (w - mean(w)) * rsqrt(max(var(w) * fan_in, 1e-4)),  per output unit

A parametrization of convolutions instead of a layer: nothing is computed from the activations. Each
output then has the variance of its input (for inputs of mean square 1), and an activation is scaled
to keep it: a ReLU by sqrt(2 / (1 - 1 / pi)). Residual models use x + alpha * f(x / beta) with the
predicted variance.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normlab.convolutions import Conv2d
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.kernels import check_state
from normlab.norms.kernels.reference import statistics_dtype

# 1 / standard deviation of f(z), z standard normal; by quadrature but for ReLU (a test repeats it).
GAINS = {
    "relu": math.sqrt(2 / (1 - 1 / math.pi)),
    "leaky_relu": 1.7048316,
    "silu": 1.7871872,
    "gelu": 1.7009262,
}


def standardize(weight: Tensor, gain: Tensor | None = None) -> Tensor:
    """The scaled standardized weight of a convolution, shape (out, in, kH, kW), gain (out,)."""
    flat = weight.to(statistics_dtype(weight)).flatten(1)
    offset = flat - flat.mean(1, keepdim=True)
    offset = offset - offset.mean(1, keepdim=True)  # what the first mean lost in rounding
    scale = torch.rsqrt(offset.square().sum(1, keepdim=True).clamp_min(1e-4))  # n * var
    if gain is not None:
        scale = scale * gain[:, None]
    return (offset * scale).view_as(weight).to(weight.dtype)


class ScaledWSConv2d(Conv2d):
    """A convolution by its scaled standardized weight; arguments as `torch.nn.Conv2d`.

    `gain` is learned per output channel and starts at 1. Models scale the activation behind it
    (`ScaledActivation`), so that as a norm it comes with its activation.
    """

    parameter_roles: ClassVar[dict[str, str]] = {"gain": "norm_gain"}
    is_parametrization: ClassVar[bool] = True
    contains_activation: ClassVar[bool] = True
    keeps_conv_bias: ClassVar[bool] = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gain = nn.Parameter(torch.ones(self.out_channels))

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, as `torch.nn.Conv2d`, and set the gain to 1."""
        super().reset_parameters()
        if "gain" in self._parameters:  # torch's constructor calls this before there is one
            nn.init.ones_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`.

        Raises:
            ValueError: The gain is not of one value per output channel.
            RuntimeError: x is on another device than the weight.
        """
        weight, channels = self.weight, (self.out_channels,)
        # torch itself gives a meta map for a meta weight.
        check_state(x, [("weight", weight, tuple(weight.shape)), ("gain", self.gain, channels)])
        y: Tensor = self._conv_forward(x, standardize(self.weight, self.gain), self.bias)
        return y


class ScaledActivation(nn.Module):
    """An activation times the gain that keeps the variance of a standard normal input."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        self.gain = GAINS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        y: Tensor = self.activation(x)
        return y * self.gain
