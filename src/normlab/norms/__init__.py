"""Normalizations, from scratch, on one mechanism (`normlab.norms.moments`)."""

from __future__ import annotations

from typing import Any

from torch import nn

from normlab.errors import unknown
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.batch import BatchNorm
from normlab.norms.batch_instance import BatchInstanceNorm
from normlab.norms.batch_renorm import BatchRenorm
from normlab.norms.evonorm import EvoNormB0, EvoNormS0
from normlab.norms.filter_response import FilterResponseNorm
from normlab.norms.ghost_batch import GhostBatchNorm
from normlab.norms.group import GroupNorm, legal_groups
from normlab.norms.instance import InstanceNorm
from normlab.norms.layer import LayerNorm
from normlab.norms.moments import MomentNorm, Norm, PooledNorm
from normlab.norms.none import NoNorm
from normlab.norms.rms import RMSNorm
from normlab.norms.switchable import SwitchableNorm
from normlab.norms.torch_norms import (
    TorchBatchNorm,
    TorchGroupNorm,
    TorchInstanceNorm,
    TorchLayerNorm,
)

NORMS: dict[str, type[nn.Module]] = {
    "none": NoNorm,
    "batch": BatchNorm,
    "ghost_batch": GhostBatchNorm,
    "instance": InstanceNorm,
    "batch_instance": BatchInstanceNorm,
    "group": GroupNorm,
    "layer": LayerNorm,
    "rms": RMSNorm,
    "filter_response": FilterResponseNorm,
    "switchable": SwitchableNorm,
    "batch_renorm": BatchRenorm,
    "evonorm_s0": EvoNormS0,
    "evonorm_b0": EvoNormB0,
    "torch_batch": TorchBatchNorm,
    "torch_instance": TorchInstanceNorm,
    "torch_group": TorchGroupNorm,
    "torch_layer": TorchLayerNorm,
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
    "BatchInstanceNorm",
    "BatchNorm",
    "BatchRenorm",
    "EvoNormB0",
    "EvoNormS0",
    "FilterResponseNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "MomentNorm",
    "NoNorm",
    "Norm",
    "PooledNorm",
    "RMSNorm",
    "SwitchableNorm",
    "TorchBatchNorm",
    "TorchGroupNorm",
    "TorchInstanceNorm",
    "TorchLayerNorm",
    "legal_groups",
    "make",
]
