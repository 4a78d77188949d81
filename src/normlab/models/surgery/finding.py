"""The norms over maps of a model, and those that no other norm can stand in for.

A norm may be replaced if what it computes is known: it is exactly one of torch's or normlab's
classes, or a subclass that overrides nothing of it, and nothing was hung onto the layer itself that
a new layer would not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized

from normlab.errors import UserError
from normlab.norms import NORMS, NoNorm, Norm

MAP_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, Norm, NoNorm)
"""What `swap_norm` replaces."""

_KNOWN = {nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, *NORMS.values()}
_OTHER_DIMENSIONS = (
    nn.BatchNorm1d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm3d,
    nn.LazyBatchNorm1d,
    nn.LazyBatchNorm3d,
    nn.LazyInstanceNorm1d,
    nn.LazyInstanceNorm3d,
)
_PRINTING = {"extra_repr", "__repr__", "_get_name"}
# What Python itself puts into the body of a class.
_WRITTEN_BY_PYTHON = {
    *("__module__", "__doc__", "__qualname__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__"),
    *("__parameters__", "__orig_bases__", "__type_params__", "__dict__", "__weakref__"),
    *("__abstractmethods__", "_abc_impl", "__slots__"),
}
# `__init__` has run: what it left behind is looked at in the layer. The rest is read by others.
_HARMLESS = {*_PRINTING, *_WRITTEN_BY_PYTHON, "__init__", "__constants__", "parameter_roles"}
_TABLES = set(vars(nn.Module()))
"""Where torch keeps the submodules, parameters, buffers and hooks of a module."""
_STATE_DICT_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Place(NamedTuple):
    """Where a module stands: its dotted name, its parent and the attribute of the parent."""

    name: str
    parent: nn.Module
    attribute: str


class Found(NamedTuple):
    """A module with all of its places: a shared one has several."""

    module: nn.Module
    places: list[Place]

    @property
    def name(self) -> str:
        """Its places, after commas."""
        return ", ".join(place.name for place in self.places)


def norms(model: nn.Module) -> list[Found]:
    """Every norm over maps, in the order of the model.

    Raises:
        UserError: The model is a norm itself or has norms that cannot be reached.
    """
    if isinstance(model, MAP_NORMS):
        raise UserError("the model is a norm itself: replace it where it is used")
    _refuse_sealed(model)
    inside = {
        id(child)
        for module in model.modules()
        if isinstance(module, MAP_NORMS)
        for child in module.modules()
        if child is not module
    }
    found: dict[int, Found] = {}
    for place, child in _children(model):
        if id(child) in inside:
            continue
        if isinstance(child, MAP_NORMS):
            found.setdefault(id(child), Found(child, [])).places.append(place)
        else:
            _refuse_unknown(place, child)
    held = held_elsewhere(model)
    for one in found.values():
        refuse_held(one, held)
    return list(found.values())


def places_of(model: nn.Module, module: nn.Module) -> Found:
    """All the places of one module."""
    return Found(module, [place for place, child in _children(model) if child is module])


def kind_of(norm: nn.Module) -> type[nn.Module]:
    """The class that a norm is of as far as it is known: torch's, normlab's, or its own."""
    return next((cls for cls in type(norm).__mro__ if cls in _KNOWN), type(norm))


def refuse_more_than_its_kind(name: str, norm: nn.Module) -> None:
    """Raise UserError where a norm does or has more than its kind, which a new one would not."""
    kind = kind_of(norm)
    if is_parametrized(norm):
        which = ", ".join(norm.parametrizations)  # type: ignore[arg-type, unused-ignore]
        raise UserError(
            f"{name}: {which} of this {kind.__name__} is parametrized: swap first and "
            "parametrize the new norm, or call torch.nn.utils.parametrize.remove_parametrizations"
        )
    if more := _overridden(norm, kind):
        raise UserError(
            f"{name}: {type(norm).__name__} has {more} of its own: what it does beyond "
            f"{kind.__name__} would be lost. Put {kind.__name__} there, with the rest in modules "
            "of its own, or replace this layer by hand"
        )
    _refuse_odd_state(name, norm, kind)
    if any(getattr(norm, hooks, None) for hooks in _STATE_DICT_HOOKS):
        raise UserError(
            f"{name}: this {type(norm).__name__} has hooks on its state dict, which are bound to "
            "it: remove them, swap, and register them on the new norm"
        )


def held_elsewhere(model: nn.Module) -> dict[nn.Module, str]:
    """The modules that are reached past the registered submodules too, and by which attribute."""
    held: dict[nn.Module, str] = {}
    for prefix, owner in model.named_modules():
        for attribute, value in vars(owner).items():
            if attribute not in _TABLES:
                for module in _modules_in(value):
                    if module is not owner:
                        held[module] = f"{prefix}.{attribute}" if prefix else attribute
    return held


def refuse_held(found: Found, held: dict[nn.Module, str]) -> None:
    """Raise UserError where a module stands at a place that cannot be changed."""
    if where := held.get(found.module):
        raise UserError(
            f"{found.name}: '{where}' holds this {type(found.module).__name__} too, where it is no "
            "submodule and cannot be replaced: use nn.ModuleList, or its name"
        )


def _children(model: nn.Module) -> Iterator[tuple[Place, nn.Module]]:
    for prefix, parent in model.named_modules():
        for attribute, child in parent._modules.items():
            if child is not None:
                name = f"{prefix}.{attribute}" if prefix else attribute
                yield Place(name, parent, attribute), child


def _refuse_sealed(model: nn.Module) -> None:
    """Models whose norms are no longer the modules that run."""
    for prefix, module in model.named_modules():
        name = prefix or "the model"
        if isinstance(module, torch.jit.ScriptModule) and _scripted_norm(module):
            raise UserError(
                f"{name} is a ScriptModule: its norms are compiled into it. Swap before "
                "torch.jit.script or torch.jit.trace"
            )
        if isinstance(module, nn.parallel.DistributedDataParallel):
            raise UserError(
                f"{name} is wrapped in DistributedDataParallel, which has counted its parameters: "
                "swap first and wrap the result"
            )
        compiled = getattr(module, "_orig_mod", None)
        if isinstance(compiled, MAP_NORMS):
            raise UserError(
                f"{name} is a compiled {type(compiled).__name__}: swap first and compile then"
            )


def _scripted_norm(module: nn.Module) -> bool:
    names = [str(getattr(part, "original_name", "")) for part in module.modules()]
    return any("norm" in name.lower() for name in names)


def _refuse_unknown(place: Place, module: nn.Module) -> None:
    if isinstance(module, nn.LazyBatchNorm2d | nn.LazyInstanceNorm2d):
        raise UserError(
            f"{place.name}: {type(module).__name__} does not know its channels yet: run the model "
            "once on a batch, then swap"
        )
    if isinstance(module, _NormBase) and not isinstance(module, _OTHER_DIMENSIONS):
        raise UserError(
            f"{place.name}: {type(module).__name__} is a norm, but none of torch.nn's over maps: "
            "what it computes is not known. Put BatchNorm2d or InstanceNorm2d there (for a "
            "quantized model: swap before it is quantized)"
        )


def _overridden(norm: nn.Module, kind: type[nn.Module]) -> str | None:
    """The first name that a subclass, or the layer itself, has otherwise than its kind."""
    of_the_layer = {*vars(norm), *norm._parameters, *norm._buffers, *norm._modules}
    for cls in type(norm).__mro__[: type(norm).__mro__.index(kind)]:
        for name, value in vars(cls).items():
            plain = not callable(value) and not hasattr(type(value), "__get__")
            known = hasattr(kind, name) or name in of_the_layer
            if name not in _HARMLESS and (known or not plain):
                return name
    for name, value in vars(norm).items():
        if callable(value) and callable(getattr(kind, name, None)) and name not in _PRINTING:
            return name
    return None


def _refuse_odd_state(name: str, norm: nn.Module, kind: type[nn.Module]) -> None:
    """Gains that are no parameters, statistics that are no buffers, and state that is extra."""
    for table, wanted, noun in (
        (norm._parameters, ("weight", "bias"), "parameter"),
        (norm._buffers, ("running_mean", "running_var", "running_std"), "buffer"),
    ):
        for attribute in wanted:
            if getattr(norm, attribute, None) is not None and attribute not in table:
                raise UserError(
                    f"{name}: {attribute} of this {type(norm).__name__} is no {noun} (weight norm, "
                    "spectral norm and pruning do this): undo it, swap, and do it again"
                )
    if kind not in _KNOWN:
        return
    roles = getattr(kind, "parameter_roles", {"weight": "", "bias": ""})
    extra = [attribute for attribute in norm._parameters if attribute not in roles]
    extra += [attribute for attribute in norm._modules if attribute != "activation"]
    if not issubclass(kind, Norm):
        statistics = {"running_mean", "running_var", "num_batches_tracked"}
        extra += [attribute for attribute in norm._buffers if attribute not in statistics]
    if extra:
        raise UserError(
            f"{name}: this {type(norm).__name__} has '{extra[0]}', which a {kind.__name__} has "
            "not: it would be lost. Keep it in the module around the norm"
        )


def _modules_in(value: object, depth: int = 3) -> Iterator[nn.Module]:
    """Modules in a value, in containers of it, or bound to a method."""
    owner = value if isinstance(value, nn.Module) else getattr(value, "__self__", None)
    if isinstance(owner, nn.Module):
        yield owner
    elif depth and isinstance(value, list | tuple | set | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(part, depth - 1)
