"""Normalizations, from scratch, on one mechanism (`normlab.norms.moments`)."""

from __future__ import annotations

from typing import Any

from torch import nn

from normlab.errors import unknown
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.batch import BatchNorm
from normlab.norms.group import GroupNorm, legal_groups
from normlab.norms.instance import InstanceNorm
from normlab.norms.layer import LayerNorm
from normlab.norms.none import NoNorm

NORMS: dict[str, type[nn.Module]] = {
    "none": NoNorm,
    "batch": BatchNorm,
    "instance": InstanceNorm,
    "group": GroupNorm,
    "layer": LayerNorm,
}
"""kind -> class; the options of each kind are in `normlab.recipe.norms`."""


def make(name: str, num_channels: int, **options: Any) -> nn.Module:
    """A norm by name: ``make("group", 16, groups=4)``.

    Raises:
        ValueError: Unknown name, or options that do not fit the channels.
        TypeError: An option the kind does not have.
    """
    if name not in NORMS:
        raise ValueError(unknown("norm", name, NORMS))
    return NORMS[name](num_channels, **options)


__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "BatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "NoNorm",
    "legal_groups",
    "make",
]
