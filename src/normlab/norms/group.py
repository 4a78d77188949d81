"""Group normalization (Wu & He 2018, arXiv:1803.08494).

    mean[n,g], var[n,g] = moments over height, width and the channels of group g
    y = gain[c] * (x - mean[n,g(c)]) / sqrt(var[n,g(c)] + eps) + bias[c]

One group is layer normalization over (C, H, W); C groups are instance normalization.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.norms.moments import MomentNorm


def legal_groups(num_channels: int, wanted: int) -> int:
    """The largest number of groups that divides `num_channels` and is not above `wanted`."""
    return next(g for g in range(min(wanted, num_channels), 0, -1) if num_channels % g == 0)


class GroupNorm(MomentNorm):
    """Normalize groups of consecutive channels of each image.

    Args:
        num_channels: C.
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
        size = groups if channels_per_group is None else channels_per_group
        if size is None or (groups is not None and channels_per_group is not None):
            raise ValueError("GroupNorm needs exactly one of groups and channels_per_group")
        if size < 1 or num_channels % size:
            name = "groups" if channels_per_group is None else "channels_per_group"
            near = legal_groups(num_channels, max(size, 1))
            raise ValueError(
                f"{name} is {size}, which does not divide {num_channels} channels; "
                f"the nearest that does is {near}"
            )
        self.groups = size if channels_per_group is None else num_channels // size

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Pool the moments of a group's channels: mean of variances + variance of means."""
        grouped = mean.reshape(len(mean), self.groups, -1)
        between, group_mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)
        within = var.reshape(len(var), self.groups, -1).mean(dim=2, keepdim=True)
        scale = torch.rsqrt(within + between + self.eps).expand_as(grouped)
        shift = (grouped - group_mean) * scale
        return scale.flatten(1), shift.flatten(1)

    def extra_repr(self) -> str:
        """Groups, then what every norm prints."""
        return f"{self.groups} groups, {super().extra_repr()}"
