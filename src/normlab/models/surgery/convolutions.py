"""`swap_convolutions`: torch's convolutions of a ready model become normlab's."""

from __future__ import annotations

from torch import nn

from normlab.convolutions import Conv2d


def swap_convolutions(model: nn.Module) -> list[str]:
    """Let every `torch.nn.Conv2d` of a model be computed by the best way for its shape, in place.

    The layers become `normlab.convolutions.Conv2d`: same results up to rounding, same state dict.
    Parameters, hooks and mode stay, and a layer in several places stays one. Subclasses of
    `torch.nn.Conv2d` are left alone.

    The ways are for maps that lie channels-last, as do the model's own maps if its parameters and
    images do: ``model.to(memory_format=torch.channels_last)``. In a study normlab sees to it; the
    model must then flatten its maps with ``flatten`` or ``reshape`` instead of ``view``.

    Args:
        model: Any module; a convolution itself, too.

    Returns:
        The names of the layers that were changed, in the order of the model.
    """
    names = [name for name, module in model.named_modules() if type(module) is nn.Conv2d]
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv2d
    return names
