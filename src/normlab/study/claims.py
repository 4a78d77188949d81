"""Claims in a study file: what is said of which arms, and how it will be tested.

Arms are picked by the values of their factors (``{norm: batch}``, ``{norm: [batch, layer]}``) or by
their label. A selector that fits several arms means the mean over them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from normlab.errors import nearest, unknown
from normlab.metrics import METRICS, WORST_OF_LAST
from normlab.recipe.base import Component, Spec, catalog, chosen_from, listed


def _picks(value: Any) -> Any:
    if not isinstance(value, str | dict):
        text = "an arm's label or levels, {factor: level}, are needed"
        raise ValueError(text)  # noqa: TRY004 (pydantic's word for a value that it refuses)
    return value


Selector = Annotated[str | dict[str, Any], BeforeValidator(_picks)]
"""An arm's label, or recipe keys with the levels wanted."""


def _epoch(value: Any) -> Any:
    """One message for all that is allowed."""
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    words = ["last", "best_validation"]
    text = str(value)
    if number or value in words or re.fullmatch(rf"{WORST_OF_LAST}[1-9][0-9]*", text):
        return value
    guess = nearest(text, [*words, f"{WORST_OF_LAST}5"])
    hint = f" (nearest: '{guess}')" if guess else ""
    allowed = f"{', '.join(words)}, {WORST_OF_LAST}5, or an epoch's number from 1 on"
    raise ValueError(f"allowed: {allowed}{hint}")


Points = Annotated[float, Field(gt=0)]
At = Annotated[int | str, BeforeValidator(_epoch)]
Name = Annotated[str, Field(min_length=1)]


class Analysis(Spec):
    """How a study's results are judged; declared before the run and recorded with it."""

    title: ClassVar[str] = "analysis"
    metric: str = "test_accuracy"
    """What claims are about, if they do not say; see `normlab.metrics`."""
    at: At = "last"
    """The epoch whose value counts: the last one, the one with the best validation accuracy (the
    first of equals), that number, or the worst of so many last ones (`worst_of_last_5`)."""
    margin: Points | None = None
    """Least difference that matters: points (of 100) for accuracies and F1 scores, else the
    metric's unit. Left out: 0.1 points on `digits`, `mnist`, `fashion-mnist` and `kmnist`,
    0.3 on all else."""
    paired: bool = False
    """Arms are compared seed by seed: decided here, never from the data."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Error rate of all claims together."""
    looks: Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(listed)] = (
        5,
        10,
        20,
        30,
    )
    """Seeds an arm at which `--until-settled` looks at the results."""
    spread: Points | None = None
    """Standard deviation over seeds to plan with before there are results, in the margin's unit."""

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(unknown("metric", value, METRICS))
        return value

    @field_validator("looks")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError("numbers of seeds that rise are allowed, for example [5, 10, 20]")
        return value


class AnyClaim(Component):
    """What every claim has.

    Attributes:
        name: Short, for tables; left out, the arms say it.
        says: The sentence of the source, or what is claimed in words.
        source: Where it is said.
        published: Published values by arm, as text or numbers; shown beside the measured ones.
        confound: What else differs between the arms in the source.
        metric: Instead of the study's.
        at: Instead of the study's.
        margin: Instead of the study's.
        test: `t`, or `permutation` of seeds.
    """

    name: Name | None = None
    says: Name | None = None
    source: Name | None = None
    published: dict[str, float | str] = {}
    confound: Name | None = None
    metric: str | None = None
    at: At | None = None
    margin: Points | None = None
    test: Literal["t", "permutation"] = "t"

    _known = field_validator("metric")(
        lambda value: value if value is None else Analysis(metric=value).metric
    )

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """The claim's sides, in the order of its kind in `normlab.stats.claims`.

        Args:
            levels: Of the factor that the claim is about, where it names one.
        """
        raise NotImplementedError


class Better(AnyClaim):
    """Arm scores higher than `over`."""

    title: ClassVar[str] = "claim 'better'"
    kind: Literal["better"]
    arm: Selector
    over: Selector

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """Both."""
        return [self.arm, self.over]


class Equal(AnyClaim):
    """Arm and `to` differ by less than the margin."""

    title: ClassVar[str] = "claim 'equal'"
    kind: Literal["equal"]
    arm: Selector
    to: Selector

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """Both."""
        return [self.arm, self.to]


class Best(AnyClaim):
    """Arm scores higher than every other one, or than each of `over`."""

    title: ClassVar[str] = "claim 'best'"
    kind: Literal["best"]
    arm: Selector
    over: list[Selector] | None = None

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """The best one first; `over` left out, the planner adds every other arm."""
        return [self.arm, *(self.over or [])]


class Ranking(AnyClaim):
    """Each of `order` scores higher than the next."""

    title: ClassVar[str] = "claim 'ranking'"
    kind: Literal["ranking"]
    order: Annotated[list[Selector], Field(min_length=2)]

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """From the highest to the lowest."""
        return list(self.order)


class Trend(AnyClaim):
    """The score rises (or falls) along a factor's levels."""

    title: ClassVar[str] = "claim 'trend'"
    kind: Literal["trend"]
    factor: str
    within: dict[str, Any] = {}
    """Only arms with these levels of other factors."""
    direction: Literal["rises", "falls"] = "rises"
    contrast: Literal["linear", "ends", "hump"] = "linear"
    """The fitted slope times the range; the greatest level minus the least; the mean of the levels
    between minus the mean of the two ends."""

    @model_validator(mode="after")
    def _a_hump_has_no_direction(self) -> Trend:
        if self.contrast == "hump" and self.direction == "falls":
            raise ValueError("a hump does not fall: leave direction out, or take another contrast")
        return self

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """A side per level."""
        return [{**self.within, self.factor: level} for level in levels]


class Interaction(AnyClaim):
    """What arm gains over `over` is more at one place than at another."""

    title: ClassVar[str] = "claim 'interaction'"
    kind: Literal["interaction"]
    arm: dict[str, Any]
    over: dict[str, Any]
    at_levels: dict[str, Any]
    than_at: dict[str, Any]

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """Arm and over at the first place, then at the second."""
        places = (self.at_levels, self.than_at)
        return [{**arm, **place} for place in places for arm in (self.arm, self.over)]


class Faster(AnyClaim):
    """Arm reaches a target accuracy in less time than `than`."""

    title: ClassVar[str] = "claim 'faster'"
    kind: Literal["faster"]
    arm: Selector
    than: Selector
    target: Annotated[float, Field(gt=0, lt=1)]
    """Accuracy, a fraction of 1."""
    split: Literal["validation", "train"] = "validation"
    clock: Literal["seconds", "examples"] = "seconds"
    hold: Annotated[int, Field(ge=1)] = 1
    """Evaluations in a row that must reach it."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A fraction of the second arm's restricted mean time."""
    test: Literal["permutation"] = "permutation"

    @model_validator(mode="after")
    def _no_score(self) -> Faster:
        if self.metric or self.at:
            raise ValueError("a claim 'faster' is about time: it has no 'metric' and no 'at'")
        return self

    def sides(self, levels: Sequence[Any]) -> list[Selector]:
        """Both."""
        return [self.arm, self.than]


CLAIMS = catalog(Better, Best, Equal, Ranking, Trend, Interaction, Faster)
ClaimSpec = Annotated[SerializeAsAny[AnyClaim], BeforeValidator(chosen_from(CLAIMS))]


class Published(Spec):
    """Numbers the source printed for an arm, shown beside ours.

    Attributes:
        arm: Which.
        values: Metric or column of the source -> what it printed; accuracies in percent.
    """

    title: ClassVar[str] = "published"
    arm: Selector
    values: Annotated[dict[str, float | str], Field(min_length=1)]

    @field_validator("values")
    @classmethod
    def _as_printed(cls, values: dict[str, float | str]) -> dict[str, float | str]:
        for name, value in values.items():
            if name not in METRICS:
                # A column of the source's own may have any name, but hardly one letter off.
                if difflib.get_close_matches(name, METRICS, n=1, cutoff=0.9):
                    raise ValueError(unknown("metric", name, METRICS))
            elif isinstance(value, int | float) and name != "gap":
                if METRICS[name].points and (0 < value < 1 or not 0 <= value <= 100):
                    raise ValueError(f"{name} is {value:g}: percent, 0 to 100, is needed")
                if value < 0:
                    raise ValueError(f"{name} is {value:g}: at least 0 is needed")
        return values
