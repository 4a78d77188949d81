"""A new norm in the old one's stead: its options, its channels, and what it keeps (`keeping`)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from normlab.errors import UserError
from normlab.models.surgery.change import Change
from normlab.models.surgery.finding import Found, refuse_more_than_its_kind
from normlab.models.surgery.keeping import (
    contains_activation,
    hand_on_activation,
    hand_on_state,
    refuse_other_statistics,
)
from normlab.norms import ACTIVATIONS, GroupNorm, TorchGroupNorm, by_name, legal_groups, make

_FOR_ANY_KIND = {"eps", "momentum", "affine"}


class Wanted(NamedTuple):
    """The norm that was asked for."""

    kind: str
    options: dict[str, Any]


def replacement(model: nn.Module, found: Found, wanted: Wanted, change: Change) -> nn.Module:
    """The norm that shall stand there: the old one itself if it is what is asked for.

    Raises:
        UserError: The old norm does more than its kind, or has what the new one cannot have.
    """
    old, cls, given = found.module, by_name(wanted.kind), wanted.options
    channels = channels_of(found)
    options = _fitting(channels, given, change)
    if type(old) is cls and all(_has(old, name, value) for name, value in options.items()):
        change.state.append("is of this kind already: left as it is")
        return old
    refuse_more_than_its_kind(found.name, old)
    like = _tensor_like(model, found)
    try:
        with torch.device(like.device):
            new = make(wanted.kind, channels, **{**_carried(old, cls, given), **options})
    except (TypeError, ValueError) as error:
        raise UserError(f"{found.name}: norm '{wanted.kind}' cannot stand here: {error}") from None
    new = new.to(dtype=like.dtype).train(old.training)
    refuse_other_statistics(found.name, old, new)
    hand_on_activation(found.name, old, new, given)
    hand_on_state(old, new, given, change)
    return new


def channels_of(found: Found) -> int:
    """The number of channels a norm is for.

    Raises:
        UserError: It does not say, or its tensors say otherwise.
    """
    norm = found.module
    name = next((n for n in ("num_channels", "num_features") if hasattr(norm, n)), None)
    if name is None:
        raise UserError(f"{found.name}: {type(norm).__name__} does not say its number of channels")
    channels = int(getattr(norm, name))
    if not isinstance(norm, _NormBase | nn.GroupNorm):
        return channels
    for key in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(norm, key, None)
        if isinstance(value, Tensor) and value.numel() != channels:
            raise UserError(
                f"{found.name}: {key} has {value.numel()} values and {name} is {channels}: set "
                f"{name} to the number of channels that the layer works on"
            )
    return channels


def _fitting(channels: int, options: dict[str, Any], change: Change) -> dict[str, object]:
    """The options, with a number of groups that divides the channels."""
    fitted: dict[str, Any] = dict(options)
    per_group = fitted.get("channels_per_group")
    if fitted.get("groups") or per_group:
        wanted = fitted.pop("groups", None) or max(1, channels // int(per_group or 1))
        fitted.pop("channels_per_group", None)
        groups = legal_groups(channels, int(wanted))
        if groups != wanted or (per_group and channels % int(per_group)):
            became = ", which is instance norm" if groups == channels > 1 else ""
            change.fitting.append(
                f"{groups} groups, the most that divide {channels} channels{became}"
            )
        fitted["groups"] = groups
    return fitted


def _has(norm: nn.Module, option: str, value: object) -> bool:
    """Whether a norm of the wanted kind was made with this option."""
    if not hasattr(norm, option):
        return False
    present = getattr(norm, option)
    if option == "activation":
        return (ACTIVATIONS[value] if value in ACTIVATIONS else type(None)) is type(present)
    if isinstance(present, Tensor) or present is None:  # learned or not, given or not
        return bool(value) is (present is not None)
    return bool(present == value)


def _carried(old: nn.Module, cls: type[nn.Module], given: dict[str, object]) -> dict[str, object]:
    """Options of the old norm that the new one has, where nobody gave others."""
    takes = set(inspect.signature(cls).parameters) - {"num_channels", "num_features", "activation"}
    carried: dict[str, Any] = {}
    if isinstance(old, cls) and given.keys() <= _FOR_ANY_KIND:
        present = {name: getattr(old, name) for name in takes if hasattr(old, name)}
        carried = {n: True if isinstance(v, Tensor) else v for n, v in present.items()}
    elif issubclass(cls, GroupNorm | TorchGroupNorm) and "channels_per_group" not in given:
        carried["groups"] = getattr(old, "groups", None) or getattr(old, "num_groups", None)
    eps = getattr(old, "eps", None)
    # A kind with an activation has a floor of its own: filter response's 1e-6 is no batch norm's.
    if isinstance(eps, int | float) and (not contains_activation(cls) or isinstance(old, cls)):
        carried["eps"] = eps
    if hasattr(old, "affine") and getattr(old, "weight", None) is None:
        carried["affine"] = False
    return {name: value for name, value in carried.items() if name in takes}


def _tensor_like(model: nn.Module, found: Found) -> Tensor:
    """A tensor on the device and of the dtype that the new norm's own tensors shall have.

    A norm without tensors is where the layers beside it are.
    """

    def tensors() -> Iterator[Tensor]:
        for module in (found.module, *(place.parent for place in found.places), model):
            yield from module.parameters()
            yield from module.buffers()

    floating = (tensor for tensor in tensors() if tensor.is_floating_point())
    return next(floating, torch.empty(0))
