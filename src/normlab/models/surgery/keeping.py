"""What a new norm keeps of the old one, and what it cannot keep, which is refused.

Parameters and buffers are not copied but handed on, the objects themselves: a frozen gain stays
frozen, a tied one tied, an optimizer goes on with it, and dtype, device and meta tensors stay. So
are the tables of hooks, so that their handles still remove them.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from normlab.errors import UserError
from normlab.models.surgery.change import Change
from normlab.norms import InstanceNorm, MomentNorm, Norm, TorchInstanceNorm

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def hand_on_state(old: nn.Module, new: nn.Module, given: Container[str], change: Change) -> None:
    """Gain, bias and running statistics where both have them; say what was lost.

    Args:
        old: The norm that goes.
        new: The norm that takes its place.
        given: Names of the options that were asked for.
        change: Where it is noted.

    Raises:
        UserError: A gain without a bias becomes a norm that needs both.
    """
    theirs: dict[str, Tensor] = dict(old.named_parameters(recurse=False))
    theirs |= dict(old.named_buffers(recurse=False))
    _convert_deviations(old, new, theirs)
    made = list(new.parameters())
    kept: list[str] = []
    for table in (new._parameters, new._buffers):
        for key, value in table.items():
            if value is not None and key in theirs and theirs[key].shape == value.shape:
                table[key] = theirs[key]  # type: ignore[assignment]
                kept.append(key)
    if "weight" in theirs and "bias" not in theirs and getattr(new, "bias", None) is not None:
        if not isinstance(new, MomentNorm | _NormBase | nn.GroupNorm):
            raise UserError(
                f"{change.name}: this {type(old).__name__} has a gain without a bias, and "
                f"{type(new).__name__} cannot: give it a bias of zeros"
            )
        new.bias = None
    _hand_on_momentum(old, new, given, kept)
    had = list(old.parameters())
    if had and not any(parameter.requires_grad for parameter in had):
        for parameter in made:  # a frozen norm does not begin to learn
            parameter.requires_grad_(False)
    if kept:
        change.state.append(f"kept {', '.join(kept)}")
    if lost := [key for key in theirs if key not in kept]:
        change.state.append(f"lost {', '.join(lost)}")
    if isinstance(old, nn.SyncBatchNorm) and _is_distributed():
        change.state.append("statistics are those of each process, no longer of all together")


def hand_on_activation(name: str, old: nn.Module, new: nn.Module, given: Container[str]) -> None:
    """The very module inside a norm, hooks and slope and all: it may be more than its name.

    Raises:
        UserError: The new norm has no place for it, or none is left behind.
    """
    activation, kind = getattr(old, "activation", None), type(new).__name__
    if "activation" in given:
        return
    if contains_activation(old) and not contains_activation(new):
        raise UserError(
            f"{name}: {type(old).__name__} contains its activation and {kind} has none: say "
            "activation='relu', or activation=None if none is meant"
        )
    if not isinstance(activation, nn.Module):
        return
    inside = f"{name}: {type(activation).__name__} in this {type(old).__name__}"
    if contains_activation(new):
        if has_hooks(activation):
            raise UserError(
                f"{inside} has hooks, and {kind} has no such module: remove them, or choose "
                "another kind"
            )
    elif not hasattr(new, "activation"):
        raise UserError(f"{inside} would be lost: {kind} has no attribute activation")
    else:
        new.activation = activation


def hand_on_hooks(old: nn.Module, new: nn.Module) -> None:
    """Let the hooks of a module run on the one that takes its place."""
    for name in _HOOKS:
        theirs, mine = getattr(old, name), getattr(new, name)
        if mine:  # a norm of the user's that registers hooks on itself
            mine.update(theirs)
        elif theirs:
            new.__dict__[name] = theirs
    if old._is_full_backward_hook is not None:
        new._is_full_backward_hook = old._is_full_backward_hook


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called beside the module's forward."""
    return any(getattr(module, name) for name in _HOOKS)


def contains_activation(norm: object) -> bool:
    """Whether a norm, or a class of norms, is an activation as well."""
    return bool(getattr(norm, "contains_activation", False))


def refuse_other_statistics(name: str, old: nn.Module, new: nn.Module) -> None:
    """Raise UserError where eval is by the batch's statistics in one of the two alone."""
    if isinstance(old, Norm) or not isinstance(old, _NormBase):  # ours keep theirs always
        return
    follows = old.track_running_stats and old.running_mean is not None
    keeps = any(name.startswith("running_") for name, _ in new.named_buffers(recurse=False))
    if isinstance(old, nn.InstanceNorm2d):
        if follows and isinstance(new, InstanceNorm | TorchInstanceNorm):
            raise UserError(
                f"{name}: this InstanceNorm2d uses running statistics in eval "
                f"(track_running_stats=True), {type(new).__name__} the image's own: the outputs "
                "would differ. Make it with track_running_stats=False if that is meant"
            )
    elif keeps and not follows:
        raise UserError(
            f"{name}: this {type(old).__name__} has no running statistics that it moves "
            f"(track_running_stats={old.track_running_stats}), and {type(new).__name__} uses them "
            "in eval: make it with track_running_stats=True, or choose a kind without"
        )


def _hand_on_momentum(
    old: nn.Module, new: nn.Module, given: Container[str], kept: list[str]
) -> None:
    """How running statistics move, and how far batch renorm has opened, where they go on."""
    if any(key.startswith("running_") for key in kept) and "momentum" not in given:
        momentum = getattr(old, "momentum", None)
        if momentum is not None or "running_mean" in kept:
            vars(new)["momentum"] = momentum
    if isinstance(old, type(new)) and hasattr(old, "progress"):
        new.progress = old.progress


def _convert_deviations(old: nn.Module, new: nn.Module, theirs: dict[str, Tensor]) -> None:
    """Between running variances and batch renorm's running standard deviations."""
    eps = float(getattr(old, "eps", 1e-5))
    with torch.no_grad():
        if "running_std" in new._buffers and "running_var" in theirs:
            theirs["running_std"] = torch.sqrt(theirs.pop("running_var") + eps)
        elif "running_var" in new._buffers and "running_std" in theirs:
            theirs["running_var"] = (theirs.pop("running_std") ** 2 - eps).clamp_min(0)


def _is_distributed() -> bool:
    process = torch.distributed
    return process.is_available() and process.is_initialized() and process.get_world_size() > 1
