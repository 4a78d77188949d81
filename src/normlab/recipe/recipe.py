"""The recipe: everything that determines one training except the seed, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from normlab.errors import UserError, unknown
from normlab.recipe.augment import AugmentSpec
from normlab.recipe.component import Own, Spec
from normlab.recipe.data import DataSpec
from normlab.recipe.models import ModelSpec
from normlab.recipe.norms import BatchNorm, GhostBatchNorm, NormSpec
from normlab.recipe.regularizers import (
    Agc,
    AgcSpec,
    Dropout,
    DropoutSpec,
    EarlyStopping,
    EarlyStoppingSpec,
    StochasticDepth,
    StochasticDepthSpec,
)
from normlab.recipe.training import (
    LARGEST,
    Constant,
    OneCycle,
    OptimizerSpec,
    Penalty,
    PenaltySpec,
    ScheduleSpec,
    Sgd,
)

SEMANTICS = 3
"""Version of what training computes. Raised when equal recipes would train differently, so that
their trials get new ids.

1. normlab 0.1.
2. Masks are those of the step; DropBlock sums in float32; AGC takes the units of a transposed
   convolution along its outputs; penalties and decay leave frozen parameters alone; batch
   renorm's moving deviation is biased, as in the paper; filter response's learned eps is added
   to a fixed one;
   `one_cycle` of two steps; norms round less, EvoNorm's most of all.
3. Maps lie channels-last on the CPU, and masks are drawn in that order; convolutions take the best
   way for their shape; updates are fused; bfloat16 norms run on the loops. Results agree to
   rounding but for the masks: `benchmarks/trace.py` shows by how much.
"""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed: a whole number from 0 to 2^32 - 1."""


Diagnostic = Literal["activations", "gradient_norm", "sparsity", "train"]
"""What `diagnostics` can ask for; see `normlab.train.diagnostics`."""


def _as_set(value: object) -> object:
    value = [value] if isinstance(value, str) else value
    return tuple(sorted(set(map(str, value)))) if isinstance(value, list | tuple) else value


class Recipe(Spec):
    """One training except its seed. Components are a name or a mapping with `kind`."""

    title: ClassVar[str] = "a recipe"

    data: DataSpec
    model: ModelSpec
    norm: NormSpec = BatchNorm(kind="batch")
    activation: Literal["relu", "leaky_relu", "silu", "gelu"] = "relu"
    init: Literal["torch", "glorot"] = "torch"
    """How the weights of convolutions and linear layers are drawn; see `normlab.train.streams`."""
    augment: AugmentSpec = ()
    """What is done to training images, in the order written."""
    dropout: DropoutSpec = Dropout()
    stochastic_depth: StochasticDepthSpec = StochasticDepth()
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    l1: PenaltySpec = Penalty()
    l2: PenaltySpec = Penalty()
    weight_decay: PenaltySpec = Penalty()
    agc: AgcSpec = Agc()
    clip_grad_norm: Annotated[float, Field(gt=0, le=LARGEST)] | None = None
    """Largest 2-norm of the whole gradient; None leaves it alone."""
    batch_size: Annotated[int, Field(ge=1, le=2**31 - 1)] = 128
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    optimizer: OptimizerSpec = Sgd(kind="sgd")
    lr: Annotated[float, Field(gt=0, le=LARGEST)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: ScheduleSpec = Constant(kind="constant")
    early_stopping: EarlyStoppingSpec = EarlyStopping()
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    diagnostics: Annotated[tuple[Diagnostic, ...], BeforeValidator(_as_set)] = ()
    """What is measured in every epoch in addition to the scores; costs time, changes no weights."""
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
        if self.agc.clip and self.clip_grad_norm:
            raise ValueError("agc and clip_grad_norm both clip the gradient: choose one")
        stops = self.early_stopping.patience and self.early_stopping.split == "validation"
        if stops and not self.validation:
            raise ValueError("early_stopping on the validation split needs validation images")
        if isinstance(self.norm, GhostBatchNorm):
            name = "splits" if self.norm.splits else "ghost_size"
            if (getattr(self.norm, name) or 0) > self.batch_size:
                raise ValueError(
                    f"norm.{name} is {getattr(self.norm, name)}: at most the batch_size, "
                    f"{self.batch_size}, is allowed"
                )
        mixes = [spec.kind for spec in self.augment if spec.kind in {"mixup", "cutmix"}]
        if mixes and self.early_stopping.patience and self.early_stopping.split == "train":
            raise ValueError(
                f"early_stopping on the running training scores means nothing under {mixes[0]}: "
                "use split validation"
            )
        cycles = isinstance(self.schedule, OneCycle) and self.schedule.cycle_momentum
        if cycles and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError(
                "momentum has no effect while schedule 'one_cycle' cycles it: leave it out, or "
                "set schedule.cycle_momentum to false"
            )
        return self

    def canonical(self) -> dict[str, object]:
        """The recipe as plain data, without the values that are defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def identity(self) -> dict[str, object]:
        """The canonical recipe without the location of the data."""
        values = self.canonical()
        data = self.data.model_dump(mode="json", exclude_defaults=True)
        kept = {k: v for k, v in data.items() if k not in self.data.places}
        return {**values, "data": kept}


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
    "stochastic_depth": "p",
    "agc": "clip",
    "early_stopping": "patience",
}
"""The option that a bare value of a recipe key stands for."""


def with_value(
    values: Mapping[str, object], key: str, value: object, *, top: bool = True
) -> dict[str, object]:
    """A copy of a recipe's plain data with one dotted key set: ``norm.groups`` or ``lr``.

    Raises:
        UserError: There is no such key, or the dotted key leads into something without keys.
    """
    head, _, rest = key.partition(".")
    if "" in key.split("."):
        raise UserError(f"'{key}' is no recipe key: a part of it is empty")
    if top and head not in Recipe.model_fields:
        raise UserError(unknown("key of a recipe", head, Recipe.model_fields))
    if not rest:
        return {**values, head: value}
    inner = values.get(head, _default(head) if top else {})
    if top and head in BARE and not isinstance(inner, Mapping):
        inner = {BARE[head]: inner}
    if not isinstance(inner, Mapping) or (top and head not in BARE):
        raise UserError(f"{key}: '{head}' has no keys of its own")
    return {**values, head: with_value(inner, rest, value, top=False)}


def _default(key: str) -> dict[str, str]:
    """What a dotted key goes into where the recipe leaves the component out."""
    kind = getattr(Recipe.model_fields[key].default, "kind", None)
    return {"kind": kind} if kind else {}


def own_modules(recipe: Recipe) -> set[str]:
    """Modules that the recipe would import, except entry points of installed packages."""
    return {part.module for part in own_parts(recipe) if part.module is not None}


def own_parts(recipe: Recipe) -> tuple[Own, ...]:
    """What of the recipe is the user's own: data, model, norm."""
    parts = (recipe.data, recipe.model, recipe.norm)
    return tuple(part for part in parts if isinstance(part, Own))


def digest(data: object) -> str:
    """SHA-256 of plain data, equal for equal data whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def trial_id(recipe: Recipe, seed: int, data_digest: str, code: str | None = None) -> str:
    """The identity of a trial: 20 hexadecimal digits.

    Two trials with the same id are the same training. Values that are defaults do not enter, so a
    recipe key that a later version adds does not change old ids. Nor does the location of the data,
    whose content the digest represents.

    Args:
        recipe: What is trained and how.
        seed: Seed of every random stream.
        data_digest: Hash of the content of the data set.
        code: Hash of the user's own code, if the recipe names any; see `normlab.own_code`.
    """
    return trial_ids(recipe, [seed], data_digest, code)[0]


def trial_ids(
    recipe: Recipe, seeds: Sequence[int], data_digest: str, code: str | None = None
) -> list[str]:
    """The `trial_id` of every seed; the recipe's identity is computed once for all of them."""
    shared = {"recipe": recipe.identity(), "data": data_digest, "semantics": SEMANTICS}
    if code is not None:
        shared["code"] = code
    return [digest({**shared, "seed": seed})[:20] for seed in seeds]


def value_text(value: object) -> str:
    """A recipe's value in words, as in a study file."""
    if isinstance(value, Mapping):
        if list(value) == ["kind"]:
            return str(value["kind"])
        return "{" + ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return "null" if value is None else str(value)
