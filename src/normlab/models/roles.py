"""The role of every parameter, from the type of the module that owns it.

Never from its name or place: a bias-free or re-ordered model keeps its roles. The head is what the
model calls its head; in a model of the user's it is looked for once (`normlab.models.own`). A
module type that is not known here says what its parameters are in a class attribute, as norms do:
`parameter_roles = {"scale": "norm_gain"}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, get_args

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from normlab.recipe.training import Role

_TORCH_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
WEIGHTED = (_ConvNd, nn.Linear, nn.Bilinear, nn.Embedding)

_HEAD = "_normlab_head"


def roles(model: nn.Module) -> dict[str, Role]:
    """The role of each parameter by name, every parameter exactly once.

    Raises:
        TypeError: A parameter belongs to a module of a type that has no known roles.
    """
    head = head_of(model)
    found: dict[str, Role] = {}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            found[full] = _role(module, name, full, is_head=module is head)
    # Shared parameters are named once by torch, under the name met first.
    return {name: found[name] for name, _ in model.named_parameters()}


def head_of(model: nn.Module) -> nn.Module | None:
    """The layer that produces the logits, if the model declares it."""
    found: nn.Module | None = model.__dict__.get(_HEAD) or getattr(model, "head", None)
    return found


def remember_head(model: nn.Module, head: nn.Module) -> None:
    """Have a model whose head has another name know which layer it is.

    Not as a submodule: a second name would double it in the state dict.
    """
    object.__setattr__(model, _HEAD, head)


def select(model: nn.Module, wanted: Iterable[Role]) -> list[nn.Parameter]:
    """The parameters that have one of the wanted roles, in the model's order."""
    chosen = frozenset(wanted)
    of = roles(model)
    return [parameter for name, parameter in model.named_parameters() if of[name] in chosen]


def _role(module: nn.Module, name: str, full: str, *, is_head: bool) -> Role:
    is_bias = name == "bias"
    known = getattr(module, "parameter_roles", {})
    if known.get(name) in get_args(Role):
        return cast("Role", known[name])
    if isinstance(module, _TORCH_NORMS):
        return "norm_bias" if is_bias else "norm_gain"
    if isinstance(module, WEIGHTED):
        if is_head:
            return "head_bias" if is_bias else "head_weight"
        return "bias" if is_bias else "weight"
    raise TypeError(
        f"parameter '{full}' of {type(module).__name__} has no known role: its class needs an "
        f"attribute parameter_roles = {{'{name}': ...}} with one of {', '.join(get_args(Role))}"
    )
