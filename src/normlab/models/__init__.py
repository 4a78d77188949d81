"""Models from scratch, the roles of their parameters, and their layer table."""

from normlab.models.build import MODELS, Built, build, drops_before_norm
from normlab.models.roles import head_of, roles, select
from normlab.models.surgery import Change, swap_convolutions, swap_norm
from normlab.models.table import LayerRow, layer_count, layer_table, parameter_count
from normlab.models.units import Units, units

__all__ = [
    "MODELS",
    "Built",
    "Change",
    "LayerRow",
    "Units",
    "build",
    "drops_before_norm",
    "head_of",
    "layer_count",
    "layer_table",
    "parameter_count",
    "roles",
    "select",
    "swap_convolutions",
    "swap_norm",
    "units",
]
