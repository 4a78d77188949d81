"""Blocks of images and channels over which statistics are pooled, and what follows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class Running(NamedTuple):
    """Running statistics that a compiled backend moves with a forward pass.

    Attributes:
        mean: Shape (C,), as `var`, in the maps' dtype.
        var: Unbiased.
        batches: How often they moved: int64, no dimension.
        momentum: Share of the new statistics; None for the plain mean.
        per_split: Move once for each run of images, not once for all.
    """

    mean: Tensor
    var: Tensor
    batches: Tensor
    momentum: float | None
    per_split: bool = False


@dataclass(frozen=True)
class Pools:
    """Runs of consecutive images by groups of consecutive channels.

    Batch norm pools all images and single channels, instance norm single images and channels,
    group norm single images and groups of channels, ghost batch norm runs of images.

    Attributes:
        sizes: Number of images in each run; they sum to the batch.
        channels: Number of channels in each group.
        counts: `sizes` as a tensor: shape (splits,), int64.
        starts: First image of each run, and the end of the last: shape (splits + 1,), int64.
    """

    sizes: tuple[int, ...]
    channels: int
    counts: Tensor = field(init=False, compare=False, repr=False)
    starts: Tensor = field(init=False, compare=False, repr=False)

    @property
    def splits(self) -> int:
        """Number of runs."""
        return len(self.sizes)

    def __post_init__(self) -> None:
        """Make the tensors, once: the runs' ends and their sizes."""
        object.__setattr__(self, "counts", torch.tensor(self.sizes))
        object.__setattr__(self, "starts", torch.tensor((0, *self.sizes)).cumsum(0))

    def pool(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics of every block from the moments of its rows.

        The mean of the variances plus the variance of the means: never a difference of squares.

        Args:
            mean: Per image and channel, shape (N, C).
            var: Biased, shape (N, C).

        Returns:
            Mean and biased variance, each (splits, C / channels).
        """
        C = mean.shape[1]
        pooled = [
            self._pool(mean[part].reshape(-1, size, C), var[part].reshape(-1, size, C))
            for size, part in self._equal_runs()
        ]
        means, variances = zip(*pooled, strict=True)
        return (
            (means[0], variances[0])
            if len(pooled) == 1
            else (torch.cat(means), torch.cat(variances))
        )

    def _pool(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """The same for runs of one size: (runs, size, C) to (runs, C / channels)."""
        shape = (len(mean), mean.shape[1], -1, self.channels)
        between, center = torch.var_mean(mean.reshape(shape), dim=(1, 3), correction=0)
        within = var.reshape(shape).mean(dim=(1, 3))
        return center, within + between

    def _equal_runs(self) -> Iterator[tuple[int, slice]]:
        """Parts of the batch whose runs have one size, with that size: few for any splits."""
        first = 0
        for size, run in groupby(self.sizes):
            last = first + size * len(list(run))
            yield size, slice(first, last)
            first = last

    def spread(self, block: Tensor) -> Tensor:
        """Values of blocks, (splits, C / channels), given to each of their rows: (N, C)."""
        rows = block.repeat_interleave(self.channels, dim=1) if self.channels > 1 else block
        if self.splits == 1:
            return rows.expand(self.sizes[0], -1)
        if self.splits == sum(self.sizes):
            return rows
        return rows.repeat_interleave(self.counts, dim=0, output_size=sum(self.sizes))


def each_image(images: int, channels: int) -> Pools:
    """Every image by itself, its channels in groups of `channels`."""
    return _pools(images, 1, channels)


def whole_batch(images: int) -> Pools:
    """All images together, every channel by itself."""
    return _pools(images, images, 1)


def runs(sizes: tuple[int, ...]) -> Pools:
    """Runs of images of these sizes, every channel by itself."""
    return Pools(sizes, 1) if torch.compiler.is_compiling() else _runs(sizes)


def _pools(images: int, size: int, channels: int) -> Pools:
    # Kept, as each holds tensors; while tracing, a cache is only in the way.
    make = _equal.__wrapped__ if torch.compiler.is_compiling() else _equal
    return make(images, size, channels)


@lru_cache(maxsize=256)
def _equal(images: int, size: int, channels: int) -> Pools:
    return Pools((size,) * (images // size), channels)


@lru_cache(maxsize=256)
def _runs(sizes: tuple[int, ...]) -> Pools:
    return Pools(sizes, 1)
