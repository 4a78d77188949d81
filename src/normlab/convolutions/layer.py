"""The convolution that the bundled models are made of."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from normlab.convolutions.autograd import convolve
from normlab.convolutions.shape import Pair


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, computed by the way that is best for its shape on this processor.

    Arguments, parameters, state dict, errors and results are torch's, up to rounding. On the CPU
    channels-last maps in float32 and bfloat16 take the ways of `normlab.convolutions`; any other
    map, device or dtype, and a layer with groups, dilation or a padding mode, is torch's own.
    """

    def has_ways(self) -> bool:
        """Whether the layer has no groups, dilation or padding mode, which are torch's."""
        return (
            self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        if not self.has_ways():
            y: Tensor = super()._conv_forward(input, weight, bias)
            return y
        return convolve(input, weight, bias, cast("Pair", self.stride), cast("Pair", self.padding))
