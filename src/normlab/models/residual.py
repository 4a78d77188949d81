"""The modules of a residual block; what stands in its places is made by `normlab.models.blocks`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Scale(nn.Module):
    """x times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * self.factor

    def extra_repr(self) -> str:
        """The factor, as torch prints it."""
        return f"{self.factor:.4f}"


class Add(nn.Module):
    """The sum of branch and shortcut: a module, so that a layer table shows it."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Both (N, C, H, W)."""
        return branch + shortcut


class ZeroPad(nn.Module):
    """The shortcut without parameters: every stride-th pixel, zeros for the new channels."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, C + new, H / stride, W / stride), sides rounded up."""
        thinned = x[:, :, :: self.stride, :: self.stride]
        return F.pad(thinned, (0, 0, 0, 0, 0, self.new_channels))

    def extra_repr(self) -> str:
        """Its options, as torch prints them."""
        return f"{self.new_channels}, stride={self.stride}"


class ResidualBlock(nn.Module):
    """leave(shortcut(x) + branch(enter(x))): what of it is the identity makes post and pre blocks.

    Attributes:
        projects: Whether the shortcut has weights: then it takes what `enter` makes of the input.
    """

    def __init__(
        self,
        enter: nn.Module,
        branch: nn.Module,
        shortcut: nn.Module,
        leave: nn.Module,
        *,
        projects: bool,
    ) -> None:
        super().__init__()
        self.enter = enter
        self.branch = branch
        self.shortcut = shortcut
        self.add = Add()
        self.leave = leave
        self.projects = projects

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, width, H / stride, W / stride)."""
        h = self.enter(x)
        y: Tensor = self.leave(self.add(self.branch(h), self.shortcut(h if self.projects else x)))
        return y
