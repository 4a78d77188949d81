"""From a recipe to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from normlab.models.convnet import digits_small, mnist_7288, mnist_7704
from normlab.models.own import build_own
from normlab.models.resnet import resnet, resnet50
from normlab.models.slots import Slots
from normlab.norms import is_norm
from normlab.recipe import Recipe
from normlab.regularizers import DROPOUTS

MODELS: dict[str, Callable[[Slots, tuple[int, int, int], int], nn.Module]] = {
    "digits-small": digits_small,
    "mnist-7288": mnist_7288,
    "mnist-7704": mnist_7704,
    "resnet": resnet,
    "resnet50": resnet50,
    "resnet50-as-published": resnet50,
}
"""kind -> function that builds it; the options of each kind are in `normlab.recipe.models`."""

MODEL_KEYS = ("data", "model", "norm", "activation", "dropout", "stochastic_depth")
"""Keys of a recipe that decide what `build` makes; the data do by shape and number of classes."""


@dataclass(frozen=True)
class Built:
    """A model as a recipe describes it, and what it contains: a trained model is compared with it.

    Attributes:
        model: The network.
        notes: Where it differs from what the recipe asked for, in one sentence each.
        norms: Number of places for the recipe's norm, shortcuts and stem included. Under `none`
            they are empty; under `scaled_ws` they are the standardized convolutions.
        dropout_slots: The numbers of its dropout slots, the same in every block.
        residual_branches: How many branches stochastic depth acts on.
    """

    model: nn.Module
    notes: tuple[str, ...]
    norms: int
    dropout_slots: tuple[int, ...]
    residual_branches: int


def build(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, *, device: str = "cpu"
) -> Built:
    """The recipe's model for images of (C, H, W).

    Weights are torch's defaults, drawn from global state; training draws them again, see
    `normlab.train.streams`. Use device "meta" to look at a model without allocating it.

    Raises:
        UserError: The recipe asks for a part that the model does not have, or your own model
            cannot be used.
    """
    slots = Slots(recipe)
    if recipe.model.kind in MODELS:
        with torch.device(device):
            model = MODELS[recipe.model.kind](slots, shape, num_classes)
    else:
        model = build_own(slots, shape, num_classes).to(device)
    slots.refuse_what_is_left()
    return Built(
        model=model,
        notes=tuple(dict.fromkeys(slots.notes)),
        norms=slots.norms,
        dropout_slots=tuple(sorted(slots.dropout_slots)),
        residual_branches=slots.residual_branches,
    )


def drops_before_norm(model: nn.Module) -> bool:
    """Whether a norm comes after a layer that drops values, in the order of registration."""
    dropped = False
    for module in model.modules():
        if isinstance(module, _DROPOUTS):
            dropped |= bool(module.p)
        elif dropped and is_norm(module):
            return True
    return False


_DROPOUTS = (*DROPOUTS.values(), _DropoutNd)
