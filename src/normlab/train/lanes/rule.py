"""Which trials train in lanes: a static rule over recipe and processor.

It must not depend on anything else: the two paths round differently, and a trial's bits would hang
on how many others wait.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

from torch import nn

from normlab.models import MODELS, build
from normlab.models.build import MODEL_KEYS
from normlab.native import compiled
from normlab.recipe import Recipe
from normlab.regularizers import StochasticDepth
from normlab.train.lanes import update
from normlab.train.lanes.graph import Conv, Graph
from normlab.train.lanes.translate import NoLanes, translate
from normlab.train.streams import random_layers

WIDEST = 32
"""Channels up to which lanes pay: a wider convolution fills a core's vectors by itself."""

_WIDTHS = (4, 8, 16)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def size() -> int:
    """Trials that a group on this processor can have at most; 0 where there are no lanes."""
    if _is_off() or not compiled.is_there() or "+avx2" not in compiled.processor()[1].split(","):
        return 0
    return compiled.lanes()


def _is_off() -> bool:
    return os.environ.get("NORMLAB_LANES") == "0"


def lanes_for(trials: int) -> int:
    """The narrowest program for so many trials: all of them give the same bits."""
    return next(width for width in _WIDTHS if width >= trials)


class Form(NamedTuple):
    """What trials must share to train side by side.

    Attributes:
        model, norm, dropout, data: Of the recipe, as JSON; of dropout only its kind.
        activation: Its name.
        batch_size: Images of a step, before copies.
        update: See `normlab.train.lanes.update.form`.
        copies: The transforms that make several images of one, as JSON.
        validation: What is held out.
        shape: (C, H, W) of an image.
        num_classes: How many classes there are.
        images: That a trial trains on.
        dropping: The layers that drop anything, if not all that may could stand in one program.
    """

    model: str
    norm: str
    activation: str
    dropout: str
    batch_size: int
    update: str
    copies: tuple[str, ...]
    data: str
    validation: str
    shape: tuple[int, int, int]
    num_classes: int
    images: int
    dropping: tuple[str, ...] = ()


def form(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, images: int, device: str
) -> Form | str:
    """What a trial shares with those it may train beside; or, in words, why it trains on torch.

    Args:
        recipe: The trial's.
        shape: (C, H, W) of an image.
        num_classes: How many classes there are.
        images: How many images it trains on.
        device: "cpu" or "cuda".
    """
    if device != "cpu":
        return f"it trains on {device}"
    if _is_off():
        return "NORMLAB_LANES=0 switches lanes off"
    if not size():
        return "this processor has no lanes of 8 numbers, or llvmlite is not installed"
    return _form(recipe, shape, num_classes, images)


@lru_cache(maxsize=16384)
def _form(recipe: Recipe, shape: tuple[int, int, int], num_classes: int, images: int) -> Form | str:
    if reason := _why_not_at_all(recipe):
        return reason
    # Arms that differ in what no model is made of, a learning rate, share a look at one.
    parts = Recipe.model_construct(**{name: getattr(recipe, name) for name in _OF_MODELS})
    dropping = _look(parts, shape, num_classes)
    if isinstance(dropping, str):
        return dropping
    copies = [spec.model_dump_json() for spec in recipe.augment if getattr(spec, "copies", 1) > 1]
    return Form(
        recipe.model.model_dump_json(),
        recipe.norm.model_dump_json(),
        recipe.activation,
        recipe.dropout.kind,
        recipe.batch_size,
        update.form(recipe),
        tuple(copies),
        recipe.data.model_dump_json(),
        repr(recipe.validation),
        shape,
        num_classes,
        images,
        dropping,
    )


_OF_MODELS = (*MODEL_KEYS, "agc")
"""Keys of a recipe that decide what its model is, and whether lanes can update it."""


@lru_cache(maxsize=4096)
def _look(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> tuple[str, ...] | str:
    """The layers that drop, as a form has them; or why lanes cannot train such a model.

    Args:
        recipe: With `_OF_MODELS` alone; other keys have their defaults.
        shape: (C, H, W) of an image.
        num_classes: How many classes there are.
    """
    place = "meta" if recipe.model.kind in MODELS else "cpu"  # only looked at: no memory
    model = build(recipe, shape, num_classes, device=place).model
    if reason := update.why_not(recipe, model) or _why_not(model):
        return reason
    layers = random_layers(model)
    dropping = [name for name, layer in layers if layer.p > 0]
    # Stochastic depth that is off stands in many nets where dropout may stand.
    may_drop = [n for n, each in layers if each.p > 0 or not isinstance(each, StochasticDepth)]
    try:
        graph = translate(model, shape, dropping)
    except NoLanes as reason:
        return str(reason)
    if (width := widest(graph)) > WIDEST:
        return _too_wide(width)
    return () if _can_drop(model, shape, may_drop) else tuple(dropping)


def _can_drop(model: nn.Module, shape: tuple[int, int, int], names: list[str]) -> bool:
    """Whether one program can do whatever the layers of these names drop in any trial."""
    try:
        translate(model, shape, names)
    except NoLanes:
        return False
    return True


def _why_not_at_all(recipe: Recipe) -> str | None:
    """What can be said before a model is built, which takes long where it is large."""
    if recipe.precision != "float32":
        return f"its precision is {recipe.precision}"
    if recipe.loss != "cross_entropy":
        return f"its loss is {recipe.loss}"
    stem = getattr(recipe.model, "width", 0) if recipe.model.kind in MODELS else 0
    return _too_wide(stem) if stem > WIDEST else None


def _too_wide(width: int) -> str:
    return f"a convolution has {width} channels, and lanes pay up to {WIDEST}"


def _why_not(model: nn.Module) -> str | None:
    """What of a model a graph does not show."""
    model.train()
    for name, module in model.named_modules():
        if not module.training:
            return f"'{name}' is held in eval mode"
        if any(getattr(module, kind) for kind in _HOOKS):
            return f"'{name}' has a hook" if name else "the model has a hook"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return f"parameter '{name}' has a hook"
    return None


def widest(graph: Graph) -> int:
    """The largest number of channels that a convolution reads or writes, its head's apart."""
    return max(
        max(o.source.map.channels, o.out.channels) for o in graph.operations if isinstance(o, Conv)
    )
