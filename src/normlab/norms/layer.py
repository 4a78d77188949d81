"""Layer normalization over a map (Ba et al. 2016, arXiv:1607.06450).

    y[n] = gain[c] * (x[n] - mean[n]) / sqrt(var[n] + eps) + bias[c],
    moments over channels, height and width

Differs from `torch.nn.LayerNorm`: gain and bias are per channel, as in `GroupNorm(1, C)`, so that
parameter counts match the other norms and any map size fits.
"""

from __future__ import annotations

from typing import Any

from normlab.norms.group import GroupNorm


class LayerNorm(GroupNorm):
    """Normalize each image over channels, height and width: one group."""

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, groups=1, eps=eps, affine=affine, activation=activation)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another number of groups: that would be group norm."""
        if name == "groups" and value != 1:
            raise AttributeError(f"groups is {value}: layer norm has 1, GroupNorm may have others")
        super().__setattr__(name, value)
