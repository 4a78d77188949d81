"""The layers of a block as its scheme shows them: what each is, and whether it is a slot."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from torch import nn

from normlab.convolutions import Conv2d
from normlab.models.residual import Scale, ZeroPad
from normlab.norms import NoNorm, is_norm
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.scaled_ws import ScaledActivation
from normlab.records.scheme import Part
from normlab.regularizers import RandomLayer, StochasticDepth

ACTIVATION_TYPES: tuple[type[nn.Module], ...] = (
    ScaledActivation,
    *(type(make()) for make in ACTIVATIONS.values()),
)

_CONVOLUTIONS = (nn.Conv2d, Conv2d)

EMPTY_NORM = Part("norm", "norm slot: empty", is_slot=True, is_filled=False)


def parts_of(module: nn.Module, name: str, channels: int) -> Iterator[Part]:
    """A layer as parts: none for what does nothing, two for a norm that holds an activation.

    Args:
        module: The layer.
        name: In its block; a dropout's slot is the number in it.
        channels: That the block makes.
    """
    if isinstance(module, nn.Conv2d):
        text = f"{convolution_text(module)}, {_share(module.out_channels, channels)}"
        # Under a parametrization the convolution is where the norm is.
        yield Part("convolution", text, is_slot=type(module) not in _CONVOLUTIONS)
    elif is_norm(module) or isinstance(module, NoNorm):
        filled = Part("norm", f"norm slot: {type(module).__name__}", is_slot=True)
        yield EMPTY_NORM if isinstance(module, NoNorm) else filled
        if isinstance(active := getattr(module, "activation", None), nn.Module):
            yield _activation(active)
    elif isinstance(module, RandomLayer):
        yield _random(module, name)
    elif isinstance(module, ACTIVATION_TYPES):
        yield _activation(module)
    elif isinstance(module, Scale):
        yield Part("scale", "times ", values=(module.factor, module.factor))
    elif text := _pool(module):
        yield Part("pool", text)


def convolution_text(module: nn.Conv2d) -> str:
    """Kernel, kind and stride of a convolution."""
    kernel, stride = _side(module.kernel_size), _side(module.stride)
    what = "convolution" if type(module) in _CONVOLUTIONS else type(module).__name__
    return f"{kernel}x{kernel} {what}" + (f", stride {stride}" if stride > 1 else "")


def _random(module: RandomLayer, name: str) -> Part:
    """Dropout, or stochastic depth: a slot that is filled where its probability is above 0."""
    p = module.p
    if isinstance(module, StochasticDepth):
        if not p:
            return Part("depth", "stochastic depth: none", is_slot=True, is_filled=False)
        return Part("depth", "stochastic depth, p = ", is_slot=True, values=(p, p))
    slot = f"dropout slot {''.join(filter(str.isdigit, name))}".strip()
    if not p:
        return Part("dropout", f"{slot}: empty", is_slot=True, is_filled=False)
    return Part("dropout", f"{slot}: {type(module).__name__}, p = ", is_slot=True, values=(p, p))


def _activation(module: nn.Module) -> Part:
    scaled = isinstance(module, ScaledActivation)
    return Part("activation", "scaled activation" if scaled else type(module).__name__)


def _pool(module: nn.Module) -> str:
    """A pool, or a shortcut that thins the map; nothing for any other layer."""
    if isinstance(module, ZeroPad):
        every = {2: "second"}.get(module.stride, f"{module.stride}th")
        return ("" if module.stride == 1 else f"every {every} pixel, ") + "zeros for new channels"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "average pool of the whole map"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
        kernel = _side(module.kernel_size)
        return f"{kernel}x{kernel} {kind} pool, stride {_side(module.stride)}"
    return ""


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def _share(width: int, channels: int) -> str:
    """A width as a part of the channels that the block makes."""
    share = Fraction(width, channels)
    top = "C" if share.numerator == 1 else f"{share.numerator} C"
    return top if share.denominator == 1 else f"{top}/{share.denominator}"
