"""Root mean square normalization (Zhang & Sennrich 2019, arXiv:1910.07467).

    y[n] = gain * x[n] / sqrt(mean over c, h, w of x[n]^2 + eps)

No mean is taken off. With center = mean[n,c] this is the mechanism's affine map with
shift = mean * scale, so a large mean costs no accuracy. Differs from the paper: per map of C
channels instead of per feature vector; `bias` can be turned on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.moments import MomentNorm


class RMSNorm(MomentNorm):
    """Divide each image by the root mean square of its values; `bias` is off as in the paper.

    Args:
        num_channels: Number of channels C.
        bias: Learn a bias per channel as well.
        eps: Added to the mean square inside the root.
        affine: Learn a gain per channel.
        activation: Applied to the result.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        bias: bool = False,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        if not bias:
            self.bias = None

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """The mean of x^2 is the mean over channels of var + mean^2."""
        square = (var + mean.square()).mean(dim=1, keepdim=True)
        scale = torch.rsqrt(square + self.eps)
        return scale, mean * scale
