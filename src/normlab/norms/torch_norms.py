"""torch's own layers with the common signature, as a sanity check of `batch` and others.

The from-scratch kinds never call torch's norm kernels; these do nothing else.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from normlab.norms.activations import ACTIVATIONS
from normlab.norms.group import check_groups


class _Activated:
    """Adds the activation to a layer of torch's."""

    activation: nn.Module | None
    uses_batch_statistics: ClassVar[bool] = False
    differs_in_eval: ClassVar[bool] = False
    contains_activation: ClassVar[bool] = False

    def forward(self, x: Tensor) -> Tensor:
        """As torch's layer, then the activation."""
        y: Tensor = super().forward(x)  # type: ignore[misc]
        y = y.to(x.dtype)  # autocast makes float32 of a group norm's result
        return y if self.activation is None else self.activation(y)


def _activation(name: str | None) -> nn.Module | None:
    return ACTIVATIONS[name]() if name else None


class TorchBatchNorm(_Activated, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`."""

    uses_batch_statistics: ClassVar[bool] = True
    differs_in_eval: ClassVar[bool] = True

    def __init__(
        self,
        num_channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, momentum=momentum, affine=affine)
        self.num_channels = num_channels
        self.activation = _activation(activation)
        if activation:  # convert_sync_batchnorm asks for it, and would leave the activation out
            del self.num_features

    __constants__ = ["track_running_stats", "momentum", "eps", "affine"]

    def extra_repr(self) -> str:
        """Channels and options."""
        return f"{self.num_channels}, eps={self.eps}, momentum={self.momentum}"


class TorchInstanceNorm(_Activated, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d`, affine."""

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps=eps, affine=affine)
        self.num_channels = num_channels
        self.activation = _activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """As torch's layer, then the activation; unlike there, a channels_last map stays one."""
        y = super().forward(x)
        if x.stride(1) == 1 != x.stride(3):
            y = y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return y


class TorchGroupNorm(_Activated, nn.GroupNorm):
    """`torch.nn.GroupNorm`."""

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

        groups = check_groups("TorchGroupNorm", num_channels, groups, channels_per_group)
        super().__init__(groups, num_channels, eps=eps, affine=affine)
        self.activation = _activation(activation)

    @property
    def groups(self) -> int:
        """Number of groups: torch's `num_groups` under the name that the other kinds use."""
        return self.num_groups

    @groups.setter
    def groups(self, groups: int) -> None:
        self.num_groups = check_groups("TorchGroupNorm", self.num_channels, groups, None)


class TorchLayerNorm(_Activated, nn.GroupNorm):
    """`torch.nn.GroupNorm` with one group: layer norm over (C, H, W), affine per channel."""

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(1, num_channels, eps=eps, affine=affine)
        self.activation = _activation(activation)
