"""Models from scratch, the roles of their parameters, and their layer table."""

from normlab.models.build import MODELS, build
from normlab.models.roles import roles, select
from normlab.models.surgery import Change, swap_norm
from normlab.models.table import LayerRow, layer_table, parameter_count

__all__ = [
    "MODELS",
    "Change",
    "LayerRow",
    "build",
    "layer_table",
    "parameter_count",
    "roles",
    "select",
    "swap_norm",
]
