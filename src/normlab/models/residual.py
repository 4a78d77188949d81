"""The modules of a residual block; what stands in its places is made by `normlab.models.blocks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from normlab.native.tensors import is_traced


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
        if is_traced(x):
            thinned = x[:, :, :: self.stride, :: self.stride]
            return F.pad(thinned, (0, 0, 0, 0, 0, self.new_channels))
        y: Tensor = _ZeroPad.apply(x, self.new_channels, self.stride)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        """Its options, as torch prints them."""
        return f"{self.new_channels}, stride={self.stride}"


class _ZeroPad(Function):
    """The same, and its transpose, with maps lying as they came: torch's slices do not keep it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, new_channels: int, stride: int) -> Tensor:
        """Pad with zeros what is left of x."""
        ctx.fixed = x.shape[1:], stride
        thinned = x[:, :, ::stride, ::stride]
        channels, size = x.shape[1], thinned.shape[2:]
        y = _empty((len(x), channels + new_channels, *size), x)
        y[:, :channels] = thinned
        y[:, channels:].zero_()
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        """Put the gradients of what was left where it was."""
        shape, stride = ctx.fixed
        dx = _empty((len(dy), *shape), dy).zero_()
        dx[:, :, ::stride, ::stride] = dy[:, : shape[0]]
        return dx, None, None


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A map that lies as another."""
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    form = torch.channels_last if last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=form)


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
