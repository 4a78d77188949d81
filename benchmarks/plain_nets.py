"""The bundled models as nets of `torch.nn` alone, made from normlab's own; no benchmark.

A net is built by normlab, weights drawn as a trial draws them, and then written anew: every layer as
torch's, with the same weights. So no model of the catalog is left out, and none is written twice. A layer
that nothing here knows is refused by its name.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.models import build
from normlab.models.convnet import ConvNet
from normlab.models.residual import ResidualBlock, ZeroPad
from normlab.norms import BatchNorm, TorchBatchNorm
from normlab.recipe import Recipe
from normlab.regularizers import Dropout, StochasticDepth
from normlab.train.streams import initialize

COPIED = (nn.ReLU, nn.Flatten, nn.Identity)


class UnknownLayerError(TypeError):
    """A layer that cannot be written as torch's, or as a peer's."""


class Net(nn.Module):
    """Layers in a row, their output flattened to (N, classes)."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images (N, C, H, W)."""
        return torch.flatten(self.layers(x), 1)


class Block(nn.Module):
    """leave(branch(enter(x)) + shortcut): the shortcut of x, or of enter(x) where it projects."""

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
        self.enter, self.branch, self.shortcut, self.leave = enter, branch, shortcut, leave
        self.projects = projects

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, width, H / stride, W / stride)."""
        h = self.enter(x)
        return self.leave(self.branch(h) + self.shortcut(h if self.projects else x))


class Pad(nn.Module):
    """Every stride-th pixel, and zeros for the new channels."""

    def __init__(self, new: int, stride: int) -> None:
        super().__init__()
        self.new, self.stride = new, stride

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, C + new, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))


def plain_net(
    recipe: Recipe, shape: tuple[int, int, int], classes: int, seed: int = 0
) -> nn.Module:
    """The recipe's net of `torch.nn` alone, with the weights that its trial of this seed begins with.

    Raises:
        UnknownLayerError: It has a layer that is not known here.
    """
    bare = recipe.model_copy(update={"precision": "float32"})
    net = build(bare, shape, classes).model
    initialize(net, seed, recipe.init)
    return written(net)


def written(layer: nn.Module) -> nn.Module:  # noqa: PLR0911 - a case for each kind
    """A layer of normlab's as torch's; with the same weights.

    Raises:
        UnknownLayerError: Nothing of torch's does the same, as far as is known here.
    """
    match layer:
        case ConvNet():
            return Net(written(layer.layers))
        case nn.Sequential():
            made = ((name, written(part)) for name, part in layer.named_children())
            return nn.Sequential(OrderedDict((n, part) for n, part in made if not _idle(part)))
        case ResidualBlock():
            parts = (layer.enter, layer.branch, layer.shortcut, layer.leave)
            return Block(*map(written, parts), projects=layer.projects)
        case ZeroPad():
            return Pad(layer.new_channels, layer.stride)
        case BatchNorm() | TorchBatchNorm() if type(layer) in {BatchNorm, TorchBatchNorm}:
            norm = _filled(nn.BatchNorm2d(layer.num_channels, layer.eps, layer.momentum), layer)
            follows = layer.activation
            return norm if follows is None else nn.Sequential(norm, written(follows))
        case Dropout():
            return nn.Dropout(layer.p) if layer.p else nn.Identity()
        case StochasticDepth() if not layer.p:
            return nn.Identity()
    return _layer_of_torch(layer)


def _layer_of_torch(layer: nn.Module) -> nn.Module:
    """A layer of torch's, also where normlab's computes it in another way."""
    match layer:
        case nn.Conv2d() if isinstance(layer.padding, tuple):
            conv = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                (layer.kernel_size[0], layer.kernel_size[1]),
                stride=(layer.stride[0], layer.stride[1]),
                padding=(layer.padding[0], layer.padding[1]),
                groups=layer.groups,
                bias=layer.bias is not None,
            )
            return _filled(conv, layer)
        case nn.Linear():
            linear = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
            return _filled(linear, layer)
        case nn.MaxPool2d():
            return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)
        case nn.AvgPool2d():
            return nn.AvgPool2d(
                layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode
            )
        case nn.AdaptiveAvgPool2d():
            return nn.AdaptiveAvgPool2d(layer.output_size)
    if type(layer) in COPIED:
        return type(layer)()
    raise UnknownLayerError(f"{type(layer).__name__}: not known as a layer of torch.nn")


def _idle(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Identity)


def _filled(layer: nn.Module, weights: nn.Module) -> nn.Module:
    layer.load_state_dict(weights.state_dict())
    return layer


def foreign(net: nn.Module) -> set[str]:
    """Classes in a net that are neither torch's nor of this file."""
    mine = {Net, Block, Pad}
    return {
        type(part).__name__
        for part in net.modules()
        if type(part) not in mine and not type(part).__module__.startswith("torch.nn.")
    }
