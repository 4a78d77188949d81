"""From a recipe to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from normlab.models.convnet import digits_small, mnist_7288, mnist_7704
from normlab.models.slots import Slots
from normlab.recipe import Recipe

MODELS: dict[str, Callable[[Slots, tuple[int, int, int], int], nn.Module]] = {
    "digits-small": digits_small,
    "mnist-7288": mnist_7288,
    "mnist-7704": mnist_7704,
}
"""kind -> function that builds it; the options of each kind are in `normlab.recipe.models`."""


@dataclass(frozen=True)
class Built:
    """A model with what its recipe declared of it.

    Attributes:
        model: The network.
        notes: Where it got something other than the recipe wanted, in one sentence each.
        norms: How many norms it asked for, whatever the kind.
    """

    model: nn.Module
    notes: tuple[str, ...]
    norms: int


def build(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, *, device: str = "cpu"
) -> Built:
    """The recipe's model for images of (C, H, W).

    Weights are torch's defaults, drawn from global state: see `normlab.train.streams` for the
    draw that counts. Use device "meta" to look at a model without allocating it.
    """
    slots = Slots(recipe)
    with torch.device(device):
        model = MODELS[recipe.model.kind](slots, shape, num_classes)
    slots.refuse_what_is_left()
    return Built(model, tuple(dict.fromkeys(slots.notes)), slots.norms)
