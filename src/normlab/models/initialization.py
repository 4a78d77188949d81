"""Who draws the parameters of a module: the rule that training and the checks of a plan share.

- convolutions and linear layers: a stream of their own each, in torch's default distribution;
- norms: nobody, they are made with constants;
- any other module: its `reset_parameters()`, called with torch's global state seeded for it.

A module with parameters that has none of these would hang on global random state: it is refused.
"""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from normlab.norms import Norm
from normlab.norms.scaled_ws import ScaledWSConv2d

_DRAWN = (nn.Conv2d, nn.Linear)
_CONSTANT = (Norm, _NormBase, nn.GroupNorm, nn.LayerNorm)


def who_draws(module: nn.Module) -> Literal["stream", "nobody", "module"]:
    """Who draws the parameters that this module itself has.

    Raises:
        TypeError: Nothing is known that would.
    """
    own = {name for name, _ in module.named_parameters(recurse=False)}
    if not own or isinstance(module, _CONSTANT):
        return "nobody"
    if isinstance(module, _DRAWN) and (own <= {"weight", "bias"} or type(module) is ScaledWSConv2d):
        return "stream"
    reset = getattr(type(module), "reset_parameters", None)
    inherited = {getattr(kind, "reset_parameters", None) for kind in _DRAWN}
    # A convolution's own method knows nothing of the parameters that a subclass adds.
    if reset is None or reset in inherited:
        raise TypeError(
            f"no initialization is known for '{min(own)}' of {type(module).__name__}: "
            "its class needs a method reset_parameters()"
        )
    return "module"
