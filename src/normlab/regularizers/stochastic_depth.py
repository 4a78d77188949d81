"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382), per image.

    y = shortcut(x) + f(x) * mask[n] / (1 - p),  mask ~ Bernoulli(1 - p) per image

Differs from the paper in two ways: the mask is drawn per image instead of per batch, and the branch
is scaled up in training instead of down in eval, so that eval is the plain residual sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.regularizers.draws import keep
from normlab.regularizers.layer import RandomLayer


def stochastic_depth(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each image of a branch's output (N, ...) with probability p, scale the rest."""
    return x * keep(x, (*x.shape[:1], *[1] * (x.ndim - 1)), p, generator)


class StochasticDepth(RandomLayer):
    """Stochastic depth with probability `p`: stands at the end of a residual branch."""

    def drop(self, x: Tensor) -> Tensor:
        """Drop the branch for some of the images of x (N, ...)."""
        return stochastic_depth(x, self.p, self.generator)
