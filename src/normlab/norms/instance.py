"""Instance normalization (Ulyanov et al. 2016, arXiv:1607.08022).

    y[n,c] = gain[c] * (x[n,c] - mean[n,c]) / sqrt(var[n,c] + eps) + bias[c]

Differs from torch's default: gain and bias are on, so that parameter counts match the other
norms. The same in training and eval. As in torch, a 1x1 map raises: there the result would be the
bias whatever the input.
"""

from __future__ import annotations

from typing import ClassVar

from normlab.norms.kernels import Pooling
from normlab.norms.pooled import PooledNorm


class InstanceNorm(PooledNorm):
    """Normalize each channel of each image over height and width.

    Raises:
        ValueError: On 1x1 maps.
    """

    refuses_in_eval: ClassVar[bool] = True

    def pooling(self, images: int, pixels: int) -> Pooling:
        """Each image and channel by itself."""
        return Pooling("each", 1)

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError for 1x1 maps."""
        if pixels == 1:
            raise ValueError("InstanceNorm needs more than 1 spatial element")
