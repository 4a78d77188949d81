"""The role of every parameter, from the type of the module that owns it.

Never from its name or place: a bias-free or re-ordered model keeps its roles. The head is what the
model calls its head.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from normlab.norms import Norm
from normlab.norms.scaled_ws import ScaledWSConv2d
from normlab.recipe.training import Role

_TORCH_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_WEIGHTED = (_ConvNd, nn.Linear, nn.Bilinear, nn.Embedding)


def roles(model: nn.Module) -> dict[str, Role]:
    """Role of each parameter by name, every parameter exactly once.

    Raises:
        TypeError: A parameter belongs to a module of a type that has no known roles.
    """
    head = getattr(model, "head", None)
    found: dict[str, Role] = {}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            found[full] = _role(module, name, full, is_head=module is head)
    # Shared parameters are named once by torch, under the name met first.
    return {name: found[name] for name, _ in model.named_parameters()}


def select(model: nn.Module, wanted: Iterable[Role]) -> list[nn.Parameter]:
    """The parameters that have one of the wanted roles, in the model's order."""
    chosen = frozenset(wanted)
    of = roles(model)
    return [parameter for name, parameter in model.named_parameters() if of[name] in chosen]


def _role(module: nn.Module, name: str, full: str, *, is_head: bool) -> Role:
    is_bias = name == "bias"
    if isinstance(module, Norm) and name in module.parameter_roles:
        return cast("Role", module.parameter_roles[name])
    if isinstance(module, ScaledWSConv2d) and name == "gain":
        return "norm_gain"
    if isinstance(module, _TORCH_NORMS):
        return "norm_bias" if is_bias else "norm_gain"
    if isinstance(module, _WEIGHTED):
        if is_head:
            return "head_bias" if is_bias else "head_weight"
        return "bias" if is_bias else "weight"
    raise TypeError(f"parameter '{full}' of {type(module).__name__} has no known role")
