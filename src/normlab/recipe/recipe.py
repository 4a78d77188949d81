"""The recipe: everything that determines one training except the seed, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from normlab.errors import UserError
from normlab.recipe.base import Spec, tagged
from normlab.recipe.data import DATA, DataSpec
from normlab.recipe.models import MODELS, ModelSpec
from normlab.recipe.norms import NORMS, BatchNorm, NormSpec
from normlab.recipe.training import (
    OPTIMIZERS,
    SCHEDULES,
    Constant,
    Dropout,
    DropoutSpec,
    OptimizerSpec,
    Penalty,
    PenaltySpec,
    ScheduleSpec,
    Sgd,
)

SEMANTICS = 1
"""Version of what training means. Raised when equal recipes would train differently, so that
their trials get new ids."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Recipe(Spec):
    """One training but for its seed. Components are a name or a mapping with `kind`."""

    title: ClassVar[str] = "a recipe"

    data: DataSpec
    model: ModelSpec
    norm: NormSpec = BatchNorm(kind="batch")
    activation: Literal["relu", "leaky_relu", "silu", "gelu"] = "relu"
    dropout: DropoutSpec = Dropout()
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    l1: PenaltySpec = Penalty()
    l2: PenaltySpec = Penalty()
    weight_decay: PenaltySpec = Penalty()
    batch_size: Annotated[int, Field(ge=1)] = 128
    epochs: Annotated[int, Field(ge=1)] = 10
    optimizer: OptimizerSpec = Sgd(kind="sgd")
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: ScheduleSpec = Constant(kind="constant")
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    validation: Annotated[float, Field(ge=0)] = 0.1
    """Training images set aside for validation: a fraction below 1 or a whole number of them."""

    @field_validator("validation")
    @classmethod
    def _fraction_or_count(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("a fraction below 1 or a whole number of images")
        return value

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Recipe:
        if self.optimizer.kind == "adam" and self.weight_decay.strength:
            raise ValueError(
                "weight_decay is decoupled from the loss, which is optimizer 'adamw'; "
                "with 'adam' use l2"
            )
        if getattr(self.optimizer, "nesterov", False) and not self.momentum:
            raise ValueError("optimizer.nesterov needs a momentum above 0")
        return self

    def canonical(self) -> dict[str, Any]:
        """The recipe as plain data, without the values that are defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


for _key, _catalog in {
    "data": DATA,
    "model": MODELS,
    "norm": NORMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}.items():
    tagged(_key, _catalog)


BARE = {
    "data": "kind",
    "model": "kind",
    "norm": "kind",
    "optimizer": "kind",
    "schedule": "kind",
    "dropout": "p",
    "l1": "strength",
    "l2": "strength",
    "weight_decay": "strength",
}
"""The option that a bare value of a recipe key stands for."""


def with_value(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of a recipe's plain data with one dotted key set: ``norm.groups`` or ``lr``.

    Raises:
        UserError: The dotted key goes into something that has no keys.
    """
    head, _, rest = key.partition(".")
    if not rest:
        return {**values, head: value}
    inner = values.get(head, {})
    if head in BARE and not isinstance(inner, Mapping):
        inner = {BARE[head]: inner}
    if not isinstance(inner, Mapping) or (not inner and head not in BARE):
        raise UserError(f"{key}: '{head}' has no keys of its own")
    return {**values, head: with_value(inner, rest, value)}


def digest(data: Any) -> str:
    """SHA-256 of plain data, equal for equal data whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def trial_id(recipe: Recipe, seed: int, data_digest: str) -> str:
    """The identity of a trial: 20 hexadecimal digits.

    Two trials with one id are the same training. Values that are defaults do not enter, so a
    recipe key that a later version adds leaves old ids alone.
    """
    identity = {
        "recipe": recipe.canonical(),
        "seed": seed,
        "data": data_digest,
        "semantics": SEMANTICS,
    }
    return digest(identity)[:20]
