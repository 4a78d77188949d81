"""DropBlock (Ghiasi, Lin & Le 2018, arXiv:1810.12890).

    gamma = p / block^2 * (H * W) / ((H - block + 1) * (W - block + 1))
    seeds ~ Bernoulli(gamma) where a whole block fits;  mask = 0 in the block around each seed
    y = x * mask * (elements of the mask) / (ones in the mask)

Every image and channel has its own blocks; the factor is taken over the whole batch, as in the
paper's algorithm. Differs from the paper in two ways: a map smaller than the block is one block,
and p is constant (the paper raises it over the training). Overlaps make the share dropped a little
smaller than p.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.regularizers.draws import (
    channels_last,
    check_p,
    draw,
    is_of_maps,
    lying_as,
    real_dtype,
)
from normlab.regularizers.layer import RandomLayer


def drop_block(
    x: Tensor, p: float, block_size: int, generator: torch.Generator | None = None
) -> Tensor:
    """Zero squares of x (N, C, H, W), about a share p of each map, and scale up the rest.

    The mask is drawn and counted in float32 at least: in float16 a count ends at 65,504, in
    bfloat16 a sum of ones stops at 256.

    Raises:
        ValueError: x is no batch of maps, `p` no probability below 1, or a block has no pixel.
    """
    check_p(p)
    _check_block(block_size)
    if x.ndim != 4:
        raise ValueError(f"x has the shape {tuple(x.shape)}: maps (N, C, H, W) are needed")
    dtype = torch.promote_types(real_dtype(x), torch.float32)
    if not x.numel():
        return x * 1.0
    height, width = x.shape[2:]
    tall, wide = min(block_size, height), min(block_size, width)
    corners = (height - tall + 1, width - wide + 1)
    # gamma above 1 would be possible for blocks nearly as large as the map
    gamma = min(p / (tall * wide) * (height * width) / (corners[0] * corners[1]), 1.0)

    def made(source: torch.Generator | None) -> Tensor:
        shape = (*x.shape[:2], *corners)
        of_maps = is_of_maps(x, x.shape)
        drawn = x.new_empty(channels_last(shape) if of_maps else shape, dtype=dtype)
        drawn.bernoulli_(gamma, generator=source)
        seeds = lying_as(x, drawn) if of_maps else drawn
        # A block is named by its first corner: a corner at or before a pixel hides it.
        padded = F.pad(seeds, (wide - 1, wide - 1, tall - 1, tall - 1))
        keep = 1 - F.max_pool2d(padded, (tall, wide), stride=1)
        ones = keep.sum(dtype=torch.int64).clamp_min(1).to(dtype)
        return (keep * (keep.numel() / ones)).to(real_dtype(x))

    return x * draw(made, x, generator)


def _check_block(block_size: int) -> None:
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: at least 1 is needed")


class DropBlock(RandomLayer):
    """DropBlock: about a share `p` of the values in squares of `block_size` pixels a side."""

    def __init__(self, p: float, block_size: int = 7) -> None:
        super().__init__(p)
        _check_block(block_size)
        self.block_size = block_size

    def drop(self, x: Tensor) -> Tensor:
        """Drop squares of x (N, C, H, W)."""
        return drop_block(x, self.p, self.block_size, self.generator)

    def extra_repr(self) -> str:
        """Probability and size, as torch prints them."""
        return f"p={self.p}, block_size={self.block_size}"
