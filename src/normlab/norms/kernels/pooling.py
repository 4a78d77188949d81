"""The description of a pooled kind: which values of a map share one mean and one variance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Pooling(NamedTuple):
    """Which images, by which channels, share one mean and one variance.

    | kind | description |
    | --- | --- |
    | batch | `Pooling("all", 1)` |
    | ghost batch of 100 images in splits of 32 | `Pooling((32, 32, 32, 4), 1)` |
    | instance | `Pooling("each", 1)` |
    | group | `Pooling("each", channels_per_group)` |
    | layer | `Pooling("each", num_channels)` |

    Attributes:
        images: "all" the images of the batch, "each" by itself, or runs of consecutive images of
            these sizes, which sum to the batch.
        channels: Consecutive channels in a group; divides C.
    """

    images: Literal["all", "each"] | tuple[int, ...]
    channels: int

    def sizes(self, images: int) -> tuple[int, ...]:
        """Number of images in each run of a batch of that many."""
        if isinstance(self.images, tuple):
            return self.images
        return (images,) if self.images == "all" else (1,) * images

    def pool(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics of every block from the moments of its rows.

        The mean of the variances plus the variance of the means: never a difference of squares.

        Args:
            mean: Per image and channel, shape (N, C).
            var: Biased, shape (N, C).

        Returns:
            Mean and biased variance, each (splits, C / channels).
        """
        if self.images == "each" and self.channels == 1:
            return mean, var
        pooled = [self._pool(*pair) for pair in zip(self._runs(mean), self._runs(var), strict=True)]
        means, variances = zip(*pooled, strict=True)
        return (
            (means[0], variances[0])
            if len(pooled) == 1
            else (torch.cat(means), torch.cat(variances))
        )

    def _pool(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """The same for runs of one size: (runs, size, C) to (runs, C / channels)."""
        mean, var = (
            rows.unflatten(2, (-1, self.channels))  # type: ignore[no-untyped-call]
            for rows in (mean, var)
        )
        between, center = torch.var_mean(mean, dim=(1, 3), correction=0)
        return center, var.mean(dim=(1, 3)) + between

    def _runs(self, rows: Tensor) -> Iterator[Tensor]:
        """(N, C) as (runs, size, C), once for each size that follows another."""
        if self.images == "each":
            yield rows.unsqueeze(1)
        elif self.images == "all":
            yield rows.unsqueeze(0)
        else:
            first = 0
            for size, run in groupby(self.images):
                count = len(list(run))
                same = rows[first : first + size * count]
                yield same.unflatten(0, (count, size))  # type: ignore[no-untyped-call]
                first += size * count

    def spread(self, block: Tensor) -> Tensor:
        """Values of blocks, (splits, C / channels), for rows: a shape that broadcasts to (N, C)."""
        if self.channels > 1:
            block = block.repeat_interleave(self.channels, dim=1)
        if isinstance(self.images, str):
            return block
        parts = zip(torch.split(block, 1), self.images, strict=True)
        return torch.cat([part.expand(size, -1) for part, size in parts])

    def coefficients(
        self, mean: Tensor, var: Tensor, eps: float, gate: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift of ``scale * (x - mean) + shift``, the map normalized by its blocks.

        With a gate of shape (C,) it is gate * this + (1 - gate) * instance norm.
        """
        block_mean, block_var = (self.spread(block) for block in self.pool(mean, var))
        return mixed(mean, var, block_mean, block_var, eps, gate)


def mixed(
    mean: Tensor,
    var: Tensor,
    block_mean: Tensor,
    block_var: Tensor,
    eps: float,
    gate: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Scale and shift about each row's mean, by the statistics of its block; see `coefficients`."""
    scale = torch.rsqrt(block_var + eps)
    shift = (mean - block_mean) * scale
    if gate is None:
        return scale, shift
    gate = gate.to(mean.dtype)
    return gate * scale + (1 - gate) * torch.rsqrt(var + eps), gate * shift
