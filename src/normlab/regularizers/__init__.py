"""Regularizers: layers that drop, penalties and decay on weights, gradient clipping."""

from normlab.regularizers.clipping import clip_adaptively, clip_by_norm
from normlab.regularizers.draws import RecomputedMaskError
from normlab.regularizers.drop_block import DropBlock, drop_block
from normlab.regularizers.dropout import Dropout, dropout
from normlab.regularizers.layer import RandomLayer
from normlab.regularizers.penalty import add_l1_gradient, add_l2_gradient, decay
from normlab.regularizers.spatial_dropout import SpatialDropout, spatial_dropout
from normlab.regularizers.stochastic_depth import StochasticDepth, stochastic_depth

DROPOUTS: dict[str, type[RandomLayer]] = {
    "dropout": Dropout,
    "spatial_dropout": SpatialDropout,
    "drop_block": DropBlock,
}
"""kind -> layer; the options of each kind are in `normlab.recipe.regularizers`."""

__all__ = [
    "DROPOUTS",
    "DropBlock",
    "Dropout",
    "RandomLayer",
    "RecomputedMaskError",
    "SpatialDropout",
    "StochasticDepth",
    "add_l1_gradient",
    "add_l2_gradient",
    "clip_adaptively",
    "clip_by_norm",
    "decay",
    "drop_block",
    "dropout",
    "spatial_dropout",
    "stochastic_depth",
]
