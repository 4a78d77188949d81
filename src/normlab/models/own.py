"""A model of the user's, by import path: made, looked at, and given the study's norm.

`mypackage.nets:Net` is a class or a function that returns a `torch.nn.Module`. It gets the
options of the recipe, and `num_classes` and `in_channels` where its signature has these names. Then

1. `nn.Dropout` and `nn.Dropout2d` become normlab's, which draw from the trial's dropout stream;
2. one forward pass of two images must give (2, classes) and draw nothing from torch's global
   random state, which no resumed trial could repeat;
3. the head is found: attribute `head`, `fc` or `classifier` (of a container the last layer with
   weights that runs), else the last linear layer that runs, else the last layer with weights;
4. every norm over maps becomes the recipe's (`normlab.models.surgery`);
5. every parameter must have a role (`normlab.models.roles`) and somebody who draws it
   (`normlab.models.initialization`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from normlab.errors import UserError
from normlab.models.initialization import who_draws
from normlab.models.roles import WEIGHTED, remember_head, roles
from normlab.models.slots import Slots
from normlab.models.surgery import swap_norm
from normlab.models.units import units
from normlab.norms import class_of, traits
from normlab.own import check_options, parameters_of
from normlab.own import load as load_own
from normlab.recipe import MODELS, Recipe
from normlab.regularizers import Dropout, RandomLayer, SpatialDropout

ENTRY_POINTS = "normlab.models"
"""Group of entry points by which a package adds models: ``name = package.module:Class``."""

_HEADS = ("head", "fc", "classifier")


def build_own(slots: Slots, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The model that the recipe names, on the CPU; norms and notes are counted in `slots`.

    It is made with torch's global state seeded the same every time: what it draws beside its
    parameters is the same in every trial.

    Raises:
        UserError: It cannot be imported, made, run or trained, or the recipe asks for a part that
            only normlab's models have.
    """
    recipe = slots.recipe
    name = f"model '{recipe.model.kind}'"
    _refuse_what_it_cannot_have(recipe, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _made(recipe, name, shape[0], num_classes).to("cpu", torch.float32)
        if any(is_lazy(parameter) for parameter in model.parameters()):
            raise UserError(f"{name} has lazy layers: give them their sizes")
        _adopt_dropout(model, name)
        ran = _run(model, name, shape, num_classes)
    head = _head(model, ran)
    if head is None:
        raise UserError(f"{name} has no layer with weights: there is nothing to train")
    remember_head(model, head)
    _swap(model, name, slots)
    try:
        roles(model)
        if recipe.agc.clip:
            units(model, recipe.agc.roles)
        for module in model.modules():
            who_draws(module)
    except (TypeError, UserError) as error:
        raise UserError(f"{name}: {error}") from None
    return model


def load(kind: str) -> Callable[..., object]:
    """What stands at ``package.module:Class`` or behind an entry point's name.

    Raises:
        UserError: It cannot be imported, or not be called.
    """
    return load_own(kind, "model", ENTRY_POINTS, MODELS, "a torch.nn.Module class")


def _refuse_what_it_cannot_have(recipe: Recipe, name: str) -> None:
    kind = recipe.norm.kind
    if traits(class_of(kind)).is_parametrization:
        raise UserError(
            f"norm '{kind}' is made of convolutions and blocks, not of norms: {name} cannot have it"
        )
    if recipe.activation != Recipe.model_fields["activation"].default:
        raise UserError(f"activation is '{recipe.activation}': {name} brings its own")


def _made(recipe: Recipe, name: str, in_channels: int, num_classes: int) -> nn.Module:
    make, options = load(recipe.model.kind), recipe.model.options
    known = parameters_of(make)
    check_options(make, options, name)
    given = {"num_classes": num_classes, "in_channels": in_channels}
    options = {**{key: value for key, value in given.items() if key in known}, **options}
    try:
        model = make(**options)
    except Exception as error:
        raise UserError(f"{name} cannot be made: {_said(error)}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} makes {type(model).__name__}: a torch.nn.Module is needed")
    return model


def _adopt_dropout(model: nn.Module, name: str) -> None:
    made: dict[int, nn.Module] = {}
    for parent in list(model.modules()):
        for attribute, child in parent._modules.items():
            if isinstance(child, nn.Dropout | nn.Dropout2d) and id(child) not in made:
                kind = Dropout if isinstance(child, nn.Dropout) else SpatialDropout
                try:
                    made[id(child)] = kind(child.p)
                except ValueError as error:
                    raise UserError(f"{name}: dropout '{attribute}': {error}") from None
            if child is not None and id(child) in made:
                parent._modules[attribute] = made[id(child)]


def _run(
    model: nn.Module, name: str, shape: tuple[int, int, int], num_classes: int
) -> list[nn.Module]:
    """Run a copy in training mode; returns the layers with weights in the order they ran."""
    ran: list[str] = []
    where = [""]

    def watch(place: str) -> Callable[[nn.Module, object], None]:
        def hook(module: nn.Module, _: object) -> None:
            where[0] = place
            if isinstance(module, WEIGHTED):
                ran.append(place)

        return hook

    try:
        trial = copy.deepcopy(model).train()
        for place, module in trial.named_modules():
            module.register_forward_pre_hook(watch(place))
            if isinstance(module, RandomLayer):
                # Off: a draw of its own takes a ticket from the global state too.
                module.generator, module.p = torch.Generator(), 0.0
        before = torch.get_rng_state()
        with torch.no_grad():
            output = trial(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    except Exception as error:
        size = "x".join(map(str, shape))
        place = f", in '{where[0]}'" if where[0] else ""
        raise UserError(
            f"{name} cannot take images of {size} (channels x height x width){place}: "
            f"{_said(error)}"
        ) from error
    if not torch.equal(before, torch.get_rng_state()):
        raise UserError(
            f"{name} draws from torch's global random state in its forward, so no trial could be "
            "repeated: make dropout by layers, nn.Dropout or those of normlab.regularizers"
        )
    gave = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if gave != (2, num_classes):
        raise UserError(f"{name} gives {gave} for 2 images: logits (2, {num_classes}) are needed")
    return [model.get_submodule(place) for place in ran]


def _head(model: nn.Module, ran: list[nn.Module]) -> nn.Module | None:
    for attribute in _HEADS:
        named = getattr(model, attribute, None)
        inside = list(named.modules()) if isinstance(named, nn.Module) else []
        if found := [module for module in ran if any(module is part for part in inside)]:
            return found[-1]
    linear = [module for module in ran if isinstance(module, nn.Linear)]
    return (linear or ran or [None])[-1]


def _swap(model: nn.Module, name: str, slots: Slots) -> None:
    norm = slots.recipe.norm
    options: dict[str, Any] = norm.options
    try:
        changes = swap_norm(model, norm.kind, **options)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if not changes and norm.kind != "none":
        raise UserError(
            f"{name} has no norm over maps that norm '{norm.kind}' could replace: say norm: none"
        )
    slots.norms += len(changes)
    slots.notes += [f"{change.name}: {note}" for change in changes for note in change.fitting]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
