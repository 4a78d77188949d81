"""Spatial dropout (Tompson et al. 2015, arXiv:1411.4280).

    y[n, c] = x[n, c] * mask[n, c] / (1 - p),  mask ~ Bernoulli(1 - p) per image and channel

Neighbouring pixels say nearly the same: dropping single ones hides little, so a whole map goes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.regularizers.draws import keep
from normlab.regularizers.layer import RandomLayer


def spatial_dropout(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each map of x (N, C, ...) with probability p and scale the rest by 1 / (1 - p)."""
    return x * keep(x, (*x.shape[:2], *[1] * (x.ndim - 2)), p, generator)


class SpatialDropout(RandomLayer):
    """Spatial dropout with probability `p`."""

    def drop(self, x: Tensor) -> Tensor:
        """Drop maps of x (N, C, ...)."""
        return spatial_dropout(x, self.p, self.generator)
