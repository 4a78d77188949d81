"""Who draws the parameters of a module: the rule that training and the checks of a plan share.

- convolutions and linear layers: a stream of their own each, distributed as the recipe's `init`;
- norms: nobody, they are made with constants;
- any other module: its `reset_parameters()`, called with torch's global state seeded for it.

A module with parameters that has none of these would hang on global random state: it is refused.
"""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from normlab.norms import PARAMETRIZATIONS, Norm

_DRAWN = (nn.Conv2d, nn.Linear)
_PLAIN = {"weight", "bias"}
_CONVOLUTIONS = tuple(PARAMETRIZATIONS.values())
_CONSTANT = (Norm, _NormBase, nn.GroupNorm, nn.LayerNorm)


def who_draws(module: nn.Module) -> Literal["stream", "nobody", "module"]:
    """Who draws the parameters that this module itself has.

    Raises:
        TypeError: Nothing is known that would.
    """
    own = {name for name, _ in module.named_parameters(recurse=False)}
    if not own or isinstance(module, _CONSTANT):
        return "nobody"
    if isinstance(module, _DRAWN) and (own <= _PLAIN or type(module) in _CONVOLUTIONS):
        return "stream"
    maker = next((kind for kind in type(module).__mro__ if "reset_parameters" in vars(kind)), None)
    # A method inherited from torch knows nothing of the parameters that a subclass adds.
    too_old = _is_torch_s(maker) and not _is_torch_s(type(module)) and not own <= _PLAIN
    if maker is None or too_old:
        raise TypeError(
            f"no initialization is known for '{min(own)}' of {type(module).__name__}: "
            "its class needs a method reset_parameters()"
        )
    return "module"


def _is_torch_s(kind: type | None) -> bool:
    return kind is not None and kind.__module__.startswith("torch.nn.")
