"""Inverted dropout (Srivastava et al. 2014).

y = x * mask / (1 - p),  mask ~ Bernoulli(1 - p) per element, in training; y = x in eval
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normlab.regularizers.draws import (
    bernoulli,
    channels_last,
    check_p,
    draw,
    is_of_maps,
    is_traced,
    lying_as,
    real_dtype,
)
from normlab.regularizers.layer import RandomLayer

RARE = 0.2
"""Up to this p a CPU is faster by the distances between zeros than by a draw per element."""


def dropout(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero each element of x with probability p and scale the rest by 1 / (1 - p); any shape."""
    check_p(p)
    dtype = real_dtype(x)
    return x * draw(lambda source: _factors(x, p, dtype, source), x, generator)


def _factors(x: Tensor, p: float, dtype: torch.dtype, source: torch.Generator | None) -> Tensor:
    # The number of rare draws hangs on what was drawn: nothing that traces or batches can follow.
    if not 0 < p <= RARE or x.device.type != "cpu" or is_traced(x):
        return bernoulli(x, x.shape, p, dtype, source)
    factors = torch.full((x.numel(),), 1 / (1 - p), dtype=dtype, device="cpu")
    factors.index_fill_(0, hits(x.numel(), p, source), 0)
    if is_of_maps(x, x.shape):
        return lying_as(x, factors.view(channels_last(x.shape)))
    return factors.view(x.shape)


def hits(count: int, p: float, generator: torch.Generator | None) -> Tensor:
    """Which of `count` independent draws of probability p hit, in order; int64.

    A draw per hit instead of one per element: the distances between hits are geometric (Devroye
    1986, chapter X). They are summed in float64, exact for 2^53 elements.
    """
    mean = count * p
    enough = int(mean + 4 * mean**0.5) + 8  # four standard deviations more than expected
    last = 0.0
    parts: list[Tensor] = []
    while not parts or last < count:
        # By inversion: torch's geometric_ draws the same one by one, in twice the time.
        drawn = torch.empty(enough, dtype=torch.float64, device="cpu").uniform_(generator=generator)
        distances = drawn.neg_().log1p_().mul_(1 / math.log1p(-p)).ceil_().clamp_min_(1)
        parts.append(distances.cumsum_(0).add_(last))
        last = float(parts[-1][-1])
    found = torch.cat(parts)
    return found[: int(torch.searchsorted(found, count, right=True))].long().sub_(1)


class Dropout(RandomLayer):
    """Dropout with probability `p`."""

    def drop(self, x: Tensor) -> Tensor:
        """Drop elements; any shape."""
        return dropout(x, self.p, self.generator)
