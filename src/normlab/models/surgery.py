"""Another norm in a ready model: every norm found by its type, replaced, and reported.

What can be kept is kept: gains, biases and running statistics move to a kind that has them. Group
counts become the largest that fits. A kind that contains its activation takes the ReLU behind it
out of the model. All of it is prepared first; an error leaves the model as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normlab.errors import UserError
from normlab.norms import ACTIVATIONS, NoNorm, Norm, by_name, legal_groups, make

_BATCH = (nn.BatchNorm2d, nn.SyncBatchNorm)
MAP_NORMS = (*_BATCH, nn.InstanceNorm2d, nn.GroupNorm, Norm, NoNorm)
"""What `swap_norm` replaces."""
_RELUS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU)


@dataclass
class Change:
    """One norm replaced.

    Attributes:
        name: Its place in the model, dotted; further places of the same module after a comma.
        old: The layer that stood there, as printed.
        new: The layer that stands there now.
        fitting: What was changed to fit: a number of groups, an activation taken out.
        state: What was kept and what was lost.
    """

    name: str
    old: str
    new: str
    fitting: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """All there is to say."""
        return [*self.fitting, *self.state]


def swap_norm(
    model: nn.Module, kind: str, *, dry_run: bool = False, **options: Any
) -> list[Change]:
    """Replace every norm over maps in a model, in place.

    Found by type: torch's `BatchNorm2d`, `SyncBatchNorm`, `InstanceNorm2d` and `GroupNorm`, and
    normlab's. `LayerNorm`, `RMSNorm` and norms of other dimensions belong to token models and stay.
    A module used in several places is replaced by one module in all of them.

    Args:
        model: Any module; a norm itself cannot be replaced in place.
        kind: A norm's name, or the import path of a class.
        dry_run: Only say what would change.
        **options: Of the new norm; `groups` may be more than fit, and is lowered to what does.

    Returns:
        The changes, in the order of the model.

    Raises:
        UserError: Unknown kind or option, or an activation that cannot be taken out. The model is
            then untouched.
    """
    cls = by_name(kind)
    if isinstance(model, MAP_NORMS):
        raise UserError("the model is a norm itself: replace it where it is used")
    plan: list[tuple[list[tuple[nn.Module, str]], nn.Module]] = []
    changes: list[Change] = []
    activations: list[tuple[nn.Module, str]] = []
    for places, old in _norms(model):
        change = Change(", ".join(name for name, _, _ in places), _text(old), "")
        new = _replacement(cls, kind, old, options, change)
        if _contains(cls) and not _contains(old) and not _activation_of(old):
            for name, parent, attribute in places:
                activations += _activation_behind(name, parent, attribute, kind, change)
        change.new = _text(new)
        plan.append(([(parent, attribute) for _, parent, attribute in places], new))
        changes.append(change)
    if not dry_run:
        for parent, attribute in activations:
            parent._modules[attribute] = nn.Identity()
        for sites, new in plan:
            for parent, attribute in sites:
                parent._modules[attribute] = new
    return changes


Place = tuple[str, nn.Module, str]


def _norms(model: nn.Module) -> Iterator[tuple[list[Place], nn.Module]]:
    """Every norm with all the places it stands in: a shared module has several."""
    found: dict[int, tuple[list[Place], nn.Module]] = {}
    inside = {
        id(child)
        for module in model.modules()
        if isinstance(module, MAP_NORMS)
        for child in module.modules()
        if child is not module
    }
    for prefix, parent in model.named_modules():
        for attribute, child in parent._modules.items():
            if isinstance(child, MAP_NORMS) and id(child) not in inside:
                name = f"{prefix}.{attribute}" if prefix else attribute
                found.setdefault(id(child), ([], child))[0].append((name, parent, attribute))
    yield from found.values()


def _replacement(
    cls: type[nn.Module], kind: str, old: nn.Module, options: dict[str, Any], change: Change
) -> nn.Module:
    """The new norm, on the old one's device, with all of its state that fits."""
    channels = _channels(old)
    wanted = _fitting(channels, options, change)
    contains = _contains(cls)
    eps = getattr(old, "eps", None)
    if isinstance(eps, float) and cls is not NoNorm and not contains:
        wanted.setdefault("eps", eps)
    activation = _activation_of(old)
    if activation and not contains:
        wanted["activation"] = activation
    try:
        new = make(kind, channels, **wanted)
    except (TypeError, ValueError) as error:
        raise UserError(f"{change.name}: norm '{kind}' cannot stand here: {error}") from None
    _move_state(old, new, change)
    if "momentum" in options:  # what is asked for, not what the old norm had
        new.momentum = options["momentum"]
    tensor = next(iter([*old.parameters(), *old.buffers()]), None)
    if tensor is not None:
        dtype = tensor.dtype if tensor.is_floating_point() else None
        new = new.to(device=tensor.device, dtype=dtype)
    return new.train(old.training)


def _contains(norm: object) -> bool:
    return bool(getattr(norm, "contains_activation", False))


def _channels(norm: nn.Module) -> int:
    for name in ("num_channels", "num_features"):
        if hasattr(norm, name):
            return int(getattr(norm, name))
    raise TypeError(f"{type(norm).__name__} does not say its number of channels")


def _activation_of(norm: nn.Module) -> str | None:
    """Name of the activation folded into a norm of ours."""
    module = getattr(norm, "activation", None)
    if module is None:
        return None
    return next((name for name, made in ACTIVATIONS.items() if type(module) is made), None)


def _fitting(channels: int, options: dict[str, Any], change: Change) -> dict[str, Any]:
    """The options, with a number of groups that divides the channels."""
    fitted = dict(options)
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


def _move_state(old: nn.Module, new: nn.Module, change: Change) -> None:
    """Copy gain, bias and running statistics where both have them, and say what was lost."""
    mine, theirs = _state(new), _state(old)
    if "running_std" in mine and "running_var" in theirs:
        eps = float(getattr(old, "eps", 1e-5))
        theirs["running_std"] = torch.sqrt(theirs.pop("running_var") + eps)
    elif "running_var" in mine and "running_std" in theirs:
        eps = float(getattr(old, "eps", 1e-5))
        theirs["running_var"] = theirs.pop("running_std") ** 2 - eps
    kept = [n for n, value in mine.items() if n in theirs and theirs[n].shape == value.shape]
    with torch.no_grad():
        for name in kept:
            mine[name].copy_(theirs[name])
    if "running_mean" in kept and hasattr(old, "momentum"):
        new.momentum = old.momentum
    if kept:
        change.state.append(f"kept {', '.join(kept)}")
    lost = [name for name in theirs if name not in kept]
    if lost:
        change.state.append(f"lost {', '.join(lost)}")


def _state(norm: nn.Module) -> dict[str, Tensor]:
    return {**dict(norm.named_parameters()), **dict(norm.named_buffers())}


def _activation_behind(
    name: str, parent: nn.Module, attribute: str, kind: str, change: Change
) -> list[tuple[nn.Module, str]]:
    """The activation module right behind a norm, to be taken out.

    Only where the order is known: in a Sequential. Elsewhere an activation may be a function in a
    forward that nobody can see into, so it is refused.
    """
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        after = names[names.index(attribute) + 1 :]
        if after and isinstance(parent._modules[after[0]], _RELUS):
            change.fitting.append(f"takes the place of {type(parent._modules[after[0]]).__name__}")
            return [(parent, after[0])]
        if after:
            return []
    raise UserError(
        f"{name}: norm '{kind}' contains its activation, and what follows this norm cannot be "
        f"seen in {type(parent).__name__}: an activation there would be a second one. Put norm and "
        "activation into a Sequential, or choose another kind."
    )


def _text(module: nn.Module) -> str:
    extra = module.extra_repr()
    return f"{type(module).__name__}({extra})"
