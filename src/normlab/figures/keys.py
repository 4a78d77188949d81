"""Keys that several kinds of figures have in a study file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from normlab.arms import one_or_several
from normlab.errors import unknown
from normlab.metrics import METRICS
from normlab.recipe.component import Component, chosen_from
from normlab.stats.claims.keys import Timed

Scale = Literal["linear", "log"]
Text = Annotated[str, Field(min_length=1)]


class TimeTo(Timed, Component):
    """Training time until an accuracy is reached; the whole training where it never is."""

    title: ClassVar[str] = "metric 'time_to'"
    kind: Literal["time_to"]


_time_to = chosen_from({"time_to": TimeTo})


def _measure(value: object, info: ValidationInfo) -> object:
    """A metric's name, or a mapping for what needs a target."""
    if value == "time_to":
        raise ValueError("'time_to' needs a target: {kind: time_to, target: 0.9}")
    if isinstance(value, str) and value not in METRICS:
        raise ValueError(unknown("metric", value, [*METRICS, "time_to"]))
    return value if isinstance(value, str) else _time_to(value, info)


Measure = Annotated[str | TimeTo, BeforeValidator(_measure)]
Measures = Annotated[tuple[Measure, ...], BeforeValidator(one_or_several)]
Names = Annotated[tuple[Text, ...], BeforeValidator(one_or_several)]
Splits = Annotated[
    tuple[Literal["train", "validation", "test"], ...], BeforeValidator(one_or_several)
]
