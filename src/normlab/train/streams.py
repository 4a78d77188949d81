"""Independent random streams, each derived from (seed, stream, part) and nothing else.

A resumed trial draws what the uninterrupted one would have drawn, and the arms of one seed see
their images in the same order and start from the same weights wherever their layers agree.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from normlab.models.initialization import who_draws
from normlab.regularizers import RandomLayer


def generator(
    seed: int, stream: str, part: int | str, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A fresh generator for one part (an epoch, a parameter's name) of one stream of a trial."""
    digest = hashlib.sha256(f"{seed}/{stream}/{part}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def torch_bounds(weight: Tensor) -> tuple[float, float]:
    """Of torch's default: 1 / sqrt(fan_in) for weights and for biases.

    Args:
        weight: (outputs, inputs) or (outputs, inputs of a group, height, width).

    Returns:
        Largest absolute weight and bias.
    """
    bound = 1 / math.sqrt(weight[0].numel())
    return bound, bound


def glorot_bounds(weight: Tensor) -> tuple[float, float]:
    """Of Glorot & Bengio 2010, equation 16, as in Keras: sqrt(6 / (fan_in + fan_out)), and 0.

    The fans of a convolution are its inputs and outputs times the pixels of its kernel. Arguments
    and result are those of `torch_bounds`.
    """
    fan_in = weight[0].numel()
    fan_out = weight.shape[0] * weight[0, 0].numel()
    return math.sqrt(6 / (fan_in + fan_out)), 0.0


BOUNDS: dict[str, Callable[[Tensor], tuple[float, float]]] = {
    "torch": torch_bounds,
    "glorot": glorot_bounds,
}
"""Values of the recipe key `init`: weights and biases are uniform within these bounds."""


def initialize(model: nn.Module, seed: int, init: str = "torch") -> None:
    """Draw the weights of convolutions and linear layers, each from its own name's stream.

    Drawn on the CPU in float32, so that every device and precision starts from the same weights.
    Norms keep their gain of 1 and bias of 0. Another module with parameters (of a model of the
    user's) draws them itself in `reset_parameters`, with torch's global state seeded for it alone.

    Args:
        model: Whose parameters are set.
        seed: Of the trial.
        init: A name in `BOUNDS`.

    Raises:
        TypeError: A module has parameters and no known way to draw them: they would hang on
            global random state.
    """
    for prefix, module in model.named_modules():
        drawn_by = who_draws(module)
        if drawn_by == "stream":
            _draw(prefix, module, seed, BOUNDS[init])
        elif drawn_by == "module":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(generator(seed, "initialization", prefix).initial_seed())
                module.reset_parameters()


def _draw(
    prefix: str,
    module: nn.Module,
    seed: int,
    bounds: Callable[[Tensor], tuple[float, float]],
) -> None:
    weight = module.get_parameter("weight")
    for name, bound in zip(("weight", "bias"), bounds(weight), strict=True):
        parameter = getattr(module, name)
        if parameter is None:
            continue
        source = generator(seed, "initialization", f"{prefix}.{name}")
        drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=source)
        with torch.no_grad():
            parameter.copy_(drawn)


def order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of `count` training images in an epoch: a permutation, shape (count,)."""
    return torch.randperm(count, generator=generator(seed, "order", epoch))


def random_layers(model: nn.Module) -> list[tuple[str, RandomLayer]]:
    """The layers that may drop something, by name: what `reseed_dropout` takes."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, RandomLayer)]


def reseed_dropout(
    layers: Iterable[tuple[str, RandomLayer]], seed: int, step: int, device: torch.device
) -> None:
    """Give every layer that drops something its own generator for this step.

    Its masks hang on the seed, the step, the layer's name and the call within the step alone. Steps
    count from 0 over all epochs.

    Args:
        layers: Those of a model, see `random_layers`; found once, as a walk through a deep net's
            modules costs 0.2 ms.
        seed: Of the trial.
        step: Its number.
        device: Of the masks.
    """
    for name, layer in layers:
        # One that drops nothing keeps its first: a deep net has many, and there are many steps.
        if layer.p or layer.generator is None:
            layer.generator = generator(seed, "dropout", f"{step}/{name}", device)
