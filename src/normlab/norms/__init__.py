"""Normalizations, from scratch, on one mechanism: `normlab.norms.moments` and `.pooled`."""

from __future__ import annotations

from torch import nn

from normlab.errors import UserError
from normlab.norms.activations import ACTIVATIONS
from normlab.norms.base import Norm
from normlab.norms.batch import BatchNorm
from normlab.norms.batch_instance import BatchInstanceNorm
from normlab.norms.batch_renorm import BatchRenorm
from normlab.norms.evonorm import EvoNormB0, EvoNormS0
from normlab.norms.filter_response import FilterResponseNorm
from normlab.norms.ghost_batch import GhostBatchNorm
from normlab.norms.group import GroupNorm, legal_groups
from normlab.norms.instance import InstanceNorm
from normlab.norms.layer import LayerNorm
from normlab.norms.moments import MomentNorm
from normlab.norms.none import NoNorm
from normlab.norms.pooled import PooledNorm
from normlab.norms.rms import RMSNorm
from normlab.norms.running import RunningStats
from normlab.norms.scaled_ws import ScaledWSConv2d
from normlab.norms.switchable import SwitchableNorm
from normlab.norms.torch_norms import (
    TorchBatchNorm,
    TorchGroupNorm,
    TorchInstanceNorm,
    TorchLayerNorm,
)
from normlab.norms.traits import Traits, is_norm, traits
from normlab.own import load

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

PARAMETRIZATIONS: dict[str, type[nn.Module]] = {"scaled_ws": ScaledWSConv2d}
"""kind -> class of the convolutions that replace convolution and norm."""

ENTRY_POINTS = "normlab.norms"
"""Group of entry points by which a package adds kinds: ``name = package.module:Class``."""


def by_name(name: str) -> type[nn.Module]:
    """The class of a kind: built in, from an entry point, or at ``package.module:Class``.

    Raises:
        UserError: There is no such kind, module or class, or it is not a torch module.
    """
    if name in NORMS:
        return NORMS[name]
    found = load(name, "norm", ENTRY_POINTS, NORMS, "a torch.nn.Module class")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(f"norm '{name}' is {found!r}: a torch.nn.Module class is needed")
    return found


def class_of(name: str) -> type[nn.Module]:
    """The class that has the traits of a kind: `by_name`'s, or that of its convolutions.

    Raises:
        UserError: As `by_name`.
    """
    return PARAMETRIZATIONS.get(name) or by_name(name)


def make(name: str, num_channels: int, **options: object) -> nn.Module:
    """Create a norm by name, as in ``make("group", 16, groups=4)``; names as in `by_name`.

    Raises:
        UserError: Unknown name.
        ValueError: Options that do not fit the channels.
        TypeError: An option the kind does not have.
    """
    made = by_name(name)(num_channels, **options)
    if not isinstance(made, nn.Module):  # a class may make something else than itself
        raise UserError(f"norm '{name}' makes {type(made).__name__}: a torch.nn.Module is needed")
    return made


__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "PARAMETRIZATIONS",
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
    "RunningStats",
    "SwitchableNorm",
    "TorchBatchNorm",
    "TorchGroupNorm",
    "TorchInstanceNorm",
    "TorchLayerNorm",
    "Traits",
    "by_name",
    "class_of",
    "is_norm",
    "legal_groups",
    "make",
    "traits",
]
