"""Layer normalization over a map (Ba et al. 2016, arXiv:1607.06450).

    y[n] = gain[c] * (x[n] - mean[n]) / sqrt(var[n] + eps) + bias[c],
    moments over channels, height and width

Differs from `torch.nn.LayerNorm`: gain and bias are per channel, as in `GroupNorm(1, C)`, so that
parameter counts match the other norms and any map size fits.
"""

from __future__ import annotations

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
