"""Figures in a study file: what the report draws, by kind, and of which arms.

Arms are picked as claims pick them: by label, or by the values of their factors. A figure shows the
study's metric at the study's epoch (`analysis`) unless it says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
)

from normlab.arms import Selector, Selectors, one_or_several
from normlab.errors import unknown
from normlab.metrics import METRICS
from normlab.recipe.base import Component, catalog, chosen_from
from normlab.stats.claims.keys import At

Scale = Literal["linear", "log"]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class TimeTo(Component):
    """Training time until an accuracy is reached; the whole training where it never is."""

    title: ClassVar[str] = "metric 'time_to'"
    kind: Literal["time_to"]
    target: Share
    """Accuracy, a fraction of 1."""
    split: Literal["validation", "train"] = "validation"
    clock: Literal["seconds", "examples"] = "seconds"
    hold: Count = 1
    """Evaluations in a row that must reach it."""


_time_to = chosen_from({"time_to": TimeTo})


def _measure(value: Any, info: ValidationInfo) -> Any:
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


class AnyFigure(Component):
    """What every figure has.

    Attributes:
        name: Its place in the page and its file's name; left out, its kind (and a number).
        heading: Above it; written `title`, a name that is taken here.
        caption: What the study's author says below it, in front of how to read it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] | None = None
    heading: Text | None = Field(None, alias="title")
    caption: Text | None = None

    model_config = ConfigDict(populate_by_name=True)


class OfArms(AnyFigure):
    """A figure of several arms; `arms` left out, of all that it can show."""

    arms: Selectors | None = None


class Scored(OfArms):
    """A figure of one metric after training."""

    metric: Measure | None = None
    at: At | None = None


class Factor(Scored):
    """A metric against a factor, a line per level of another: dots, means, intervals."""

    title: ClassVar[str] = "figure 'factor'"
    kind: Literal["factor"]
    x: Text
    lines: Names | None = None
    """One factor, or several whose levels are named together."""
    panels: Text | None = None
    scale: Scale = "linear"
    """Of the horizontal axis."""


class Interaction(Scored):
    """A metric at every pair of levels of two factors: parallel lines, no interaction."""

    title: ClassVar[str] = "figure 'interaction'"
    kind: Literal["interaction"]
    x: Text
    lines: Names
    panels: Text | None = None


class ByArm(OfArms):
    """Metrics side by side, arm by arm, with what the source published as an open mark."""

    metrics: Measures | None = None
    at: At | None = None
    together: bool = False
    """Metrics of one unit in one panel instead of one each."""

    @field_validator("metrics")
    @classmethod
    def _distinct(cls, value: tuple[Measure, ...] | None) -> tuple[Measure, ...] | None:
        for metric in value or ():
            if (value or ()).count(metric) > 1:
                name = metric if isinstance(metric, str) else "time_to"
                raise ValueError(f"{name} is there twice")
        return value


class Dots(ByArm):
    """Metrics arm by arm: a dot per seed, mean and interval, on an axis that fits them."""

    title: ClassVar[str] = "figure 'dots'"
    kind: Literal["dots"]


class Bars(ByArm):
    """Metrics arm by arm as bars from 0, with intervals."""

    title: ClassVar[str] = "figure 'bars'"
    kind: Literal["bars"]


class Curves(OfArms):
    """A metric of every epoch: mean over seeds with its band, a panel per split."""

    title: ClassVar[str] = "figure 'curves'"
    kind: Literal["curves"]
    metric: Literal[
        "accuracy", "loss", "macro_f1", "micro_f1", "ece", "lr", "seconds", "examples_per_second"
    ] = "accuracy"
    splits: Splits = ("train", "validation", "test")
    scale: Scale = "linear"


class Survival(OfArms):
    """Share of trials that have not reached an accuracy yet, over time (Kaplan & Meier 1958)."""

    title: ClassVar[str] = "figure 'survival'"
    kind: Literal["survival"]
    target: Share
    split: Literal["validation", "train"] = "validation"
    clock: Literal["seconds", "examples"] = "seconds"
    hold: Count = 1


class Confusion(OfArms):
    """Which classes are taken for which: a matrix per arm, mean over seeds."""

    title: ClassVar[str] = "figure 'confusion'"
    kind: Literal["confusion"]


class Misclassified(AnyFigure):
    """Test images that one trial got wrong: true and predicted class, and its confidence."""

    title: ClassVar[str] = "figure 'misclassified'"
    kind: Literal["misclassified"]
    arm: Selector
    seed: Annotated[int, Field(ge=0)] | None = None
    """Left out: the first that is finished."""
    count: Annotated[int, Field(ge=1, le=400)] = 26
    order: Literal["confidence", "data"] = "confidence"
    """The surest first, or as the data set has them."""


class Disagreement(AnyFigure):
    """Test images that one arm gets right and another one wrong, over their seeds."""

    title: ClassVar[str] = "figure 'disagreement'"
    kind: Literal["disagreement"]
    right: Selector
    wrong: Selector
    seeds: Literal["all", "most"] = "most"
    """In all seeds of both arms, or in more than half of each."""
    count: Annotated[int, Field(ge=1, le=400)] = 24


class OfLayers(OfArms):
    """A figure of layers or weights by name; `layers` left out, of six spread over the depth."""

    layers: Names | None = None


class Activations(OfLayers):
    """Percentiles 1, 20, 80, 99 of norm layers' outputs over epochs (Ioffe & Szegedy 2015)."""

    title: ClassVar[str] = "figure 'activations'"
    kind: Literal["activations"]


class Gates(OfLayers):
    """Histograms of what norms with gates learned, over the epochs or at the end."""

    title: ClassVar[str] = "figure 'gates'"
    kind: Literal["gates"]
    epochs: Literal["all", "last"] = "all"


class Sparsity(OfLayers):
    """Share of weights that an L1 penalty brought near zero, over epochs."""

    title: ClassVar[str] = "figure 'sparsity'"
    kind: Literal["sparsity"]
    threshold: float = 0.01
    """Relative to the largest value of the same weight: 0.001 or 0.01."""

    @field_validator("threshold")
    @classmethod
    def _recorded(cls, value: float) -> float:
        if value not in {0.001, 0.01}:
            raise ValueError("0.001 or 0.01 is allowed: these are recorded")
        return value


class Gradients(OfArms):
    """Norms of the gradient and of all weights, over epochs."""

    title: ClassVar[str] = "figure 'gradients'"
    kind: Literal["gradients"]
    scale: Scale = "log"


class Agc(OfArms):
    """Share of units that adaptive gradient clipping clipped, over epochs."""

    title: ClassVar[str] = "figure 'agc'"
    kind: Literal["agc"]


class Effects(AnyFigure):
    """What the claims are about: estimates, intervals, zero and the margin."""

    title: ClassVar[str] = "figure 'effects'"
    kind: Literal["effects"]
    claims: Names | None = None


FIGURES = catalog(
    Factor,
    Interaction,
    Dots,
    Bars,
    Curves,
    Survival,
    Effects,
    Confusion,
    Misclassified,
    Disagreement,
    Activations,
    Gates,
    Sparsity,
    Gradients,
    Agc,
)
"""kind -> options; what draws them is in `normlab.figures`."""

FigureSpec = Annotated[SerializeAsAny[AnyFigure], BeforeValidator(chosen_from(FIGURES))]
