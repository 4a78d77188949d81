"""Plain convolutional nets: the small one for 8x8 digits and the two MNIST nets of the sources.

All are a row of blocks, then a classifier and its pooling. A model's function takes the slots the
recipe fills, the input's shape (C, H, W) and the number of classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from normlab.models.pooling import AveragePool, GlobalAveragePool
from normlab.models.slots import Slots


class ConvNet(nn.Module):
    """Named layers in a row; the output of the last one is flattened to (N, classes).

    Attributes:
        head: The layer that makes the logits, by role and not by position.
    """

    def __init__(self, layers: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(layers))

    @property
    def head(self) -> nn.Module:
        """The classifier."""
        return self.layers.get_submodule("head")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        logits: Tensor = self.layers(x)
        return logits.flatten(1)


Layers = list[tuple[str, nn.Module]]


def digits_small(slots: Slots, shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    """Conv, norm, activation three times with one pool, then global pooling and a linear head.

    7,514 parameters with any affine norm on 8x8 grey images and 10 classes.
    """
    layers: Layers = []
    channels = shape[0]
    for index, width in enumerate((16, 16, 32), start=1):
        layers += _conv_norm(slots, index, channels, width, padding=1)
        channels = width
        if index == 2:
            layers.append(("pool", nn.MaxPool2d(2)))
    layers += [
        ("average", GlobalAveragePool()),
        ("flatten", nn.Flatten()),
        ("head", nn.Linear(channels, num_classes)),
    ]
    return ConvNet(layers)


def mnist_7288(slots: Slots, shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    """The table of source B: unpadded 3x3 convs, norm and activation after each, 1x1 classifier.

    28x28 grey images in, 7,288 parameters with an affine norm and 10 classes.
    """
    layers: Layers = []
    channels = shape[0]
    for index, width in enumerate((8, 8, 8, 16, 16, 16), start=1):
        layers += _conv_norm(slots, index, channels, width)
        channels = width
        if index == 3:
            layers.append(("pool", nn.MaxPool2d(2)))
    layers += [
        ("head", slots.conv(channels, num_classes, 1, before_norm=False)),
        ("average", AveragePool(5, stride=1)),
    ]
    return ConvNet(layers)


def mnist_7704(slots: Slots, shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    """The net of source C: activation *before* norm, then dropout; 1x1 bottleneck after the pool.

    28x28 grey images in, 7,704 parameters with an affine norm and 10 classes.
    """
    layers: Layers = []
    channels = shape[0]
    # (index, channels out, kernel, whether activation, norm and dropout follow)
    for index, width, kernel, full in (
        (1, 8, 3, True),
        (2, 16, 3, True),
        (3, 8, 1, False),
        (4, 16, 3, True),
        (5, 16, 3, True),
        (6, 16, 3, True),
        (7, 16, 1, True),
    ):
        layers.append((f"conv{index}", slots.conv(channels, width, kernel, before_norm=full)))
        channels = width
        if full:
            layers += [
                (f"activation{index}", slots.activation()),
                (f"norm{index}", slots.norm(width)),
                (f"dropout{index}", slots.dropout(index)),
            ]
        if index == 2:
            layers.append(("pool", nn.MaxPool2d(2)))
        if index == 6:
            layers.append(("average", AveragePool(6)))
    head = slots.conv(channels, num_classes, 1, before_norm=False)
    return ConvNet([*layers, ("head", head)])


def _conv_norm(slots: Slots, index: int, channels: int, width: int, *, padding: int = 0) -> Layers:
    conv = slots.conv(channels, width, 3, padding=padding, before_norm=True)
    return [
        (f"conv{index}", conv),
        (f"norm{index}", slots.norm(width, activate=True)),
        (f"dropout{index}", slots.dropout(index)),
    ]
