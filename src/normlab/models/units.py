"""The output units of a weight, by the type of the module that owns it: what AGC clips one by one.

A convolution, a linear, bilinear or embedding layer has its outputs in the first dimension of its
weight. A transposed convolution has (in, out / groups, ...): output j of group g has column j of
the rows of group g. Gains and biases are one vector each, whatever their shape (a layer norm's gain
may have three dimensions). Of another module type, a weight has its outputs in the first dimension.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from normlab.errors import UserError
from normlab.models.roles import roles
from normlab.recipe.training import Role

_WEIGHTS: tuple[Role, ...] = ("weight", "head_weight")


class Units:
    """How the output units are arranged in one parameter.

    Args:
        parameter: Of any shape.
        groups: None if all of it is one vector; 0 if each row is a unit; otherwise the groups of a
            transposed convolution.
    """

    def __init__(self, parameter: nn.Parameter, groups: int | None) -> None:
        self.parameter, self.groups = parameter, groups

    def rows(self) -> list[Tensor]:
        """Views that together make up the parameter, with `grad` a view too; each row is a unit.

        One vector is a row of its own or a tensor of one dimension.

        What is written into their gradients is written into the parameter's. Empty without one.
        """
        weight, gradient = self.parameter.detach(), self.parameter.grad
        if gradient is None:
            return []
        if self.groups == 0 or (self.groups is None and weight.ndim <= 1):
            return [self.parameter]  # as it is: views cost more than what is done with them
        views = []
        for part, slope in zip(self._views(weight), self._views(gradient), strict=True):
            part.grad = slope
            views.append(part)
        return views

    def _views(self, x: Tensor) -> list[Tensor]:
        if self.groups is None:
            return [x[None]]
        return [group.transpose(0, 1) for group in x.chunk(self.groups)]


def units(model: nn.Module, wanted: Iterable[Role]) -> list[Units]:
    """The units of each parameter that has one of the wanted roles, in the model's order.

    Raises:
        UserError: Two modules share a parameter and have their outputs in different dimensions.
        TypeError: A parameter has no known role (`normlab.models.roles`).
    """
    of, chosen = roles(model), frozenset(wanted)
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((name, module))
    return [
        Units(parameter, _groups(name, parameter, of[name], owners[id(parameter)]))
        for name, parameter in model.named_parameters()
        if of[name] in chosen
    ]


def _groups(
    name: str, parameter: nn.Parameter, role: Role, owners: list[tuple[str, nn.Module]]
) -> int | None:
    if role not in _WEIGHTS or parameter.ndim < 2:
        return None
    ways = {
        module.groups
        if isinstance(module, _ConvTransposeNd)
        else 0: f"{place} ({type(module).__name__})"
        for place, module in owners
    }
    if len(ways) > 1:
        raise UserError(
            f"agc clips by output unit, and '{name}' has other output units in each of the modules "
            f"that share it: {', '.join(ways.values())}; leave its role '{role}' out of agc.roles "
            "or give each module a weight of its own"
        )
    return next(iter(ways))
