"""Inverted dropout (Srivastava et al. 2014).

y = x * mask / (1 - p),  mask ~ Bernoulli(1 - p) per element, in training; y = x in eval
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.regularizers.layer import RandomLayer


def dropout(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each element of x with probability p and scale the rest by 1 / (1 - p); any shape."""
    keep = torch.empty_like(x).bernoulli_(1 - p, generator=generator)
    return x * keep.div_(1 - p)


class Dropout(RandomLayer):
    """Dropout with probability `p`."""

    def drop(self, x: Tensor) -> Tensor:
        """Drop elements; any shape."""
        return dropout(x, self.p, self.generator)
