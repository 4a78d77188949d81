"""Group normalization (Wu & He 2018, arXiv:1803.08494).

    mean[n,g], var[n,g] = moments over height, width and the channels of group g
    y = gain[c] * (x - mean[n,g(c)]) / sqrt(var[n,g(c)] + eps) + bias[c]

One group is layer normalization over (C, H, W); C groups are instance normalization.
"""

from __future__ import annotations

from typing import ClassVar

from normlab.norms.kernels import Pooling
from normlab.norms.pooled import PooledNorm


def legal_groups(num_channels: int, wanted: int) -> int:
    """The largest number of groups that divides `num_channels` and is not above `wanted`."""
    return next(g for g in range(min(wanted, num_channels), 0, -1) if num_channels % g == 0)


def check_groups(
    kind: str, num_channels: int, groups: int | None, channels_per_group: int | None
) -> int:
    """The number of groups, from whichever of the two is given.

    Raises:
        ValueError: Both or neither given, or one that does not divide the channels.
    """
    size = groups if channels_per_group is None else channels_per_group
    if size is None or (groups is not None and channels_per_group is not None):
        raise ValueError(f"{kind} needs exactly one of groups and channels_per_group")
    if size < 1 or num_channels % size:
        name = "groups" if channels_per_group is None else "channels_per_group"
        near = legal_groups(num_channels, max(size, 1))
        raise ValueError(
            f"{name} is {size}, which does not divide {num_channels} channels; "
            f"the largest below it that does is {near}"
        )
    return size if channels_per_group is None else num_channels // size


class GroupNorm(PooledNorm):
    """Normalize groups of consecutive channels of each image.

    Args:
        num_channels: Number of channels C.
        groups: Number of groups; must divide C. Give this or `channels_per_group`.
        channels_per_group: Size of a group; must divide C.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Raises:
        ValueError: Both or neither of the sizes given, or one that does not divide C.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        groups: int | None = None,
        channels_per_group: int | None = None,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine, activation=activation)
        self.groups = check_groups("GroupNorm", num_channels, groups, channels_per_group)

    refuses_in_eval: ClassVar[bool] = True

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError where torch does: for a single image with one value per group."""
        if images * pixels * (self.num_channels // self.groups) == 1:
            raise ValueError(f"{type(self).__name__} needs more than 1 value per group")

    def pooling(self, images: int, pixels: int) -> Pooling:
        """Each image by itself, its channels in groups."""
        return Pooling("each", self.num_channels // self.groups)

    def extra_repr(self) -> str:
        """The groups, then what every norm prints."""
        return f"{self.groups} groups, {super().extra_repr()}"
