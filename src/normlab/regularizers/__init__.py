"""Regularizers: dropout layers and penalties on weights."""

from normlab.regularizers.dropout import Dropout, dropout
from normlab.regularizers.penalty import add_l1_gradient, add_l2_gradient, decay

__all__ = ["Dropout", "add_l1_gradient", "add_l2_gradient", "decay", "dropout"]
