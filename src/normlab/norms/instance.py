"""Instance normalization (Ulyanov et al. 2016, arXiv:1607.08022).

    y[n,c] = gain[c] * (x[n,c] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c]

Differs from torch's default: gain and bias are on, so that parameter counts match the other
norms. The same in training and eval. As in torch, a 1x1 map raises in training: there the
result would be 0 whatever the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.moments import MomentNorm


class InstanceNorm(MomentNorm):
    """Normalize each channel of each image over height and width.

    Raises:
        ValueError: In training, on 1x1 maps.
    """

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Each (n, c) by its own variance, around its own mean."""
        if pixels == 1 and self.training:
            raise ValueError("InstanceNorm needs more than 1 spatial element when training")
        return torch.rsqrt(var + self.eps), torch.zeros_like(mean)
