"""Inverted dropout (Srivastava et al. 2014).

y = x * mask / (1 - p),  mask ~ Bernoulli(1 - p) per element, in training; y = x in eval
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.regularizers.layer import RandomLayer

RARE = 0.2
"""Up to this p a CPU is faster by the distances between zeros than by a draw per element."""


def dropout(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each element of x with probability p and scale the rest by 1 / (1 - p); any shape."""
    if 0 < p <= RARE and x.device.type == "cpu":
        factors = torch.full_like(x, 1 / (1 - p), memory_format=torch.contiguous_format)
        factors.view(-1).index_fill_(0, _hits(x.numel(), p, generator), 0)
    else:
        factors = torch.empty_like(x).bernoulli_(1 - p, generator=generator).div_(1 - p)
    return x * factors


def _hits(count: int, p: float, generator: torch.Generator | None) -> Tensor:
    """Which of `count` independent draws of probability p hit, in order; int64.

    A draw per hit instead of one per element: the distances between hits are geometric (Devroye
    1986, chapter X). They are summed in float64, exact for 2^53 elements.
    """
    mean = count * p
    enough = int(mean + 4 * mean**0.5) + 8  # four standard deviations more than expected
    last = 0.0
    parts: list[Tensor] = []
    while not parts or last < count:
        distances = torch.empty(enough, dtype=torch.float64).geometric_(p, generator=generator)
        parts.append(distances.cumsum_(0).add_(last))
        last = float(parts[-1][-1])
    hits = torch.cat(parts)
    return hits[: int(torch.searchsorted(hits, count, right=True))].long().sub_(1)


class Dropout(RandomLayer):
    """Dropout with probability `p`."""

    def drop(self, x: Tensor) -> Tensor:
        """Drop elements; any shape."""
        return dropout(x, self.p, self.generator)
