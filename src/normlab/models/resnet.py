"""ResNets: 6n+2 layers for small images, and the 50-layer one (He et al. 2016, arXiv:1512.03385).

    stem -> stages of residual blocks -> average pool -> linear head

`resnet`: three stages of n blocks of two 3x3 convolutions, 16, 32 and 64 channels; the first block
of stages 2 and 3 halves the map. `resnet50`: stages of 3, 4, 6 and 3 bottlenecks (1x1, 3x3, 1x1 to
four times the width), 64 to 512 channels; the first block of every stage projects, that of stages
2 to 4 halves the map. Its option values that a published study had (`resnet50-as-published`) each
undo one quirk of it; docs/recipe.md lists them.

Weights start as torch's defaults (see `normlab.train.streams`), also in the as-published net, whose
source drew them as Keras does (Glorot uniform, biases zero). Stochastic depth stands at the end of
a branch. The slots of a block are those of its convolutions: dropout slot i is behind the
activation of convolution i, the last one at the end of the branch.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from normlab.models.blocks import Blocks, Layers, Step, in_a_row
from normlab.models.convnet import ConvNet
from normlab.models.pooling import GlobalAveragePool
from normlab.models.slots import Slots
from normlab.recipe.models import Residual, ResNet, ResNet50

Shape = tuple[int, int, int]
Stages = list[list[list[Step]]]
"""The convolutions of each block of each stage."""


def resnet(slots: Slots, shape: Shape, num_classes: int) -> ConvNet:
    """ResNet of 6n+2 layers; n = 2 is 14: a stem, six blocks of two convolutions, a head.

    173,481 parameters with any affine norm, n = 2, color images and 25 classes.
    """
    spec = cast("ResNet", slots.recipe.model)
    stages = [
        [
            [Step(spec.width * 2**stage, 3, _stride(stage, index)), Step(spec.width * 2**stage, 3)]
            for index in range(spec.n)
        ]
        for stage in range(3)
    ]
    blocks = Blocks(slots, spec, 3 * spec.n, zero_pad=spec.shortcut == "identity")
    return _net(blocks, stages, shape, num_classes)


def resnet50(slots: Slots, shape: Shape, num_classes: int) -> ConvNet:
    """ResNet-50, with the options of `resnet50` and `resnet50-as-published`.

    23,555,082 parameters as published with three norm slots, color images and 10 classes.
    """
    spec = cast("ResNet50", slots.recipe.model)
    stages: Stages = []
    for stage, count in enumerate((3, 4, 6, 3)):
        width = spec.width * 2**stage
        stages.append([])
        for index in range(count):
            stride = _stride(stage, index)
            first, second = (stride, 1) if spec.stride_on == "conv1" else (1, stride)
            stages[-1].append([Step(width, 1, first), Step(width, 3, second), Step(4 * width, 1)])
    blocks = Blocks(
        slots,
        spec,
        16,
        activation_before_addition=spec.activation_before_addition,
        projection_dropout=(spec.projection_dropout_slots, spec.projection_dropout_p == "next"),
    )
    return _net(blocks, stages, shape, num_classes, same_pool=spec.final_pool == "same")


def _stride(stage: int, index: int) -> int:
    return 2 if stage and not index else 1


def _net(
    blocks: Blocks, stages: Stages, shape: Shape, num_classes: int, *, same_pool: bool = False
) -> ConvNet:
    """Stem, stages, pool and head; a net of pre blocks has the stem's norm behind the last one."""
    spec = blocks.spec
    normed = spec.has_norm(spec.stem_norm)
    layers: Layers = [("stem", in_a_row(_stem(blocks, shape[0], normed=normed)))]
    channels = spec.width
    for number, stage in enumerate(stages, start=1):
        made: Layers = []
        for index, steps in enumerate(stage, start=1):
            made.append((f"block{index}", blocks.block(channels, steps)))
            channels = steps[-1].width
        layers.append((f"stage{number}", in_a_row(made)))
    if blocks.pre:
        layers.append(("final", in_a_row(blocks.entry(channels, normed=normed))))
    pool: nn.Module = GlobalAveragePool()
    sides = [1, 1]
    if same_pool:
        # A window that runs over the edge averages the pixels it has, as "same" does in Keras.
        pool = nn.AvgPool2d(2, ceil_mode=True)
        sides = [-(-_behind_stem(side, spec) // 2 ** len(stages)) for side in shape[1:]]
    head = nn.Linear(channels * sides[0] * sides[1], num_classes)
    return ConvNet([*layers, ("pool", pool), ("flatten", nn.Flatten()), ("head", head)])


def _stem(blocks: Blocks, channels: int, *, normed: bool) -> Layers:
    spec = blocks.spec
    kernel, stride = (7, 2) if spec.stem == "large" else (3, 1)
    conv = blocks.slots.conv(
        channels,
        spec.width,
        kernel,
        stride=stride,
        padding=kernel // 2,
        before_norm=normed and not blocks.pre,
        normed=normed,
    )
    layers: Layers = [("conv", conv)]
    if not blocks.pre:
        layers += blocks.entry(spec.width, normed=normed)
    if spec.stem_pool != "none":
        layers.append(("pool", nn.MaxPool2d(3, 2, padding=int(spec.stem_pool == "padded"))))
    return layers


def _behind_stem(side: int, spec: Residual) -> int:
    """Pixels of a side that the stem leaves; at least 1, so that a layer says what is wrong."""
    if spec.stem == "large":
        side = -(-side // 2)
    if spec.stem_pool == "padded":
        side = -(-side // 2)
    elif spec.stem_pool == "valid":
        side = (side - 3) // 2 + 1
    return max(side, 1)
