"""What a kind of norm is, read from its class, so that no other place lists the kinds.

A class says it in attributes of these names, be it a `Norm`, a layer of torch's or any module of a
user's. What it does not say is as below; torch's batch norms, which say nothing, have the traits of
batch norm.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from normlab.norms.none import NoNorm
from normlab.norms.norm import Norm


class Traits(NamedTuple):
    """Properties of a kind that the linter, the models, the training and its proofs ask for.

    Attributes:
        uses_batch_statistics: In training, an image's result depends on the rest of the batch.
        suits_small_batches: It is made for batches whose statistics are mostly noise.
        differs_in_eval: Training and evaluation compute different functions.
        contains_activation: It contains its activation: none may follow.
        follows_progress: The training loop sets its `progress`, from 0 to 1, before each step.
        is_parametrization: It changes how convolutions are computed and is not a layer behind them.
        keeps_conv_bias: A convolution in front of it keeps its bias, as there is no other.
    """

    uses_batch_statistics: bool = False
    suits_small_batches: bool = False
    differs_in_eval: bool = False
    contains_activation: bool = False
    follows_progress: bool = False
    is_parametrization: bool = False
    keeps_conv_bias: bool = False


_TORCH_S = Traits(uses_batch_statistics=True, differs_in_eval=True)


def traits(kind: nn.Module | type[nn.Module]) -> Traits:
    """The traits of a layer, or of a class of layers."""
    cls = kind if isinstance(kind, type) else type(kind)
    default = _TORCH_S if issubclass(cls, _BatchNorm) else Traits()
    said = {name: getattr(kind, name, getattr(default, name)) for name in Traits._fields}
    return Traits(**{name: bool(value) for name, value in said.items()})


def is_norm(layer: nn.Module) -> bool:
    """Whether a layer is a norm: normlab's, torch's, or one with `uses_batch_statistics`."""
    if isinstance(layer, NoNorm):
        return False
    known = isinstance(layer, (Norm, _NormBase, nn.GroupNorm))
    return known or hasattr(type(layer), "uses_batch_statistics")
