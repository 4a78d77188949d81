"""The recipe's models: what a study file may say, checked without importing torch."""

from normlab.recipe.augment import AUGMENTATIONS
from normlab.recipe.component import Component, Spec
from normlab.recipe.data import DATA
from normlab.recipe.models import MODELS
from normlab.recipe.norms import NORMS
from normlab.recipe.recipe import (
    SEMANTICS,
    Recipe,
    Seed,
    digest,
    own_modules,
    own_parts,
    trial_id,
    trial_ids,
    value_text,
    with_value,
)
from normlab.recipe.regularizers import DROPOUTS, REGULARIZERS
from normlab.recipe.training import OPTIMIZERS, SCHEDULES

__all__ = [
    "AUGMENTATIONS",
    "DATA",
    "DROPOUTS",
    "MODELS",
    "NORMS",
    "OPTIMIZERS",
    "REGULARIZERS",
    "SCHEDULES",
    "SEMANTICS",
    "Component",
    "Recipe",
    "Seed",
    "Spec",
    "digest",
    "own_modules",
    "own_parts",
    "trial_id",
    "trial_ids",
    "value_text",
    "with_value",
]
