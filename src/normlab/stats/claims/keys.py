"""What every claim may say in a study file, and how that becomes a record over arms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from normlab.arms import Arms, Selector, selector_text
from normlab.errors import UserError, nearest, unknown
from normlab.metrics import METRICS, WORST_OF_LAST
from normlab.recipe.component import Component, Spec
from normlab.records.plan import AnalysisRecord, ClaimRecord, TimeRecord

_FINE = {"digits", "mnist", "fashion-mnist", "kmnist"}
"""Data sets on which a tenth of a point is a difference."""


def _epoch(value: object) -> object:
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


def check_metric(value: str | None) -> str | None:
    """A validator of a metric's name, or of none.

    Raises:
        ValueError: No such metric.
    """
    if value is not None and value not in METRICS:
        raise ValueError(unknown("metric", value, METRICS))
    return value


Points = Annotated[float, Field(gt=0)]
At = Annotated[int | str, BeforeValidator(_epoch)]
Name = Annotated[str, Field(min_length=1)]
Test = Literal["t", "permutation"]


class Timed(Spec):
    """What is measured as training time until an accuracy is reached."""

    target: Annotated[float, Field(gt=0, lt=1)]
    """Accuracy, a fraction of 1."""
    split: Literal["validation", "train"] = "validation"
    clock: Literal["seconds", "examples"] = "seconds"
    hold: Annotated[int, Field(ge=1)] = 1
    """Evaluations in a row that must reach it."""

    def time(self) -> TimeRecord:
        """As the plan keeps it."""
        return TimeRecord(target=self.target, split=self.split, clock=self.clock, hold=self.hold)


class Sides(NamedTuple):
    """A claim's sides as labels of arms, and the levels they stand for where those are numbers."""

    arms: Sequence[Sequence[str]]
    levels: Sequence[float] = ()


class ClaimKeys(Component):
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
    test: Test = "t"

    separator: ClassVar[str] = ", "
    """Between the sides of a claim that has no name."""

    _known = field_validator("metric")(check_metric)

    def selectors(self) -> Sequence[Selector]:
        """What picks each side, in the order of the kind."""
        raise NotImplementedError

    def sides(self, arms: Arms) -> Sides:
        """The arms of each side.

        Raises:
            UserError: A selector fits no arm, or the kind cannot compare what is there.
        """
        return Sides([arms.pick(selector) for selector in self.selectors()])

    def own_keys(self) -> dict[str, object]:
        """The kind's own keys that decide its verdict."""
        return {}

    def time(self) -> TimeRecord | None:
        """What is measured where that is a time."""
        return None

    def words(self) -> str:
        """A claim without a name: its kind and what its arms are picked by."""
        return f"{self.kind}: {self.separator.join(map(selector_text, self.selectors()))}"

    def scored_margin(self, analysis: AnalysisRecord, data: set[str]) -> float:
        """The margin in the scores' own unit: fractions of 1 for what is shown in points.

        Args:
            analysis: Its margin holds for its metric.
            data: Kinds of the data sets that the study uses: they have usual margins.

        Raises:
            UserError: The metric has no usual margin, and none is given.
        """
        name = self.metric or analysis.metric
        metric = METRICS[name]
        margin = self.margin or (analysis.margin if name == analysis.metric else None)
        if margin is None:
            if not metric.points:
                text = f"the metric '{name}' has no usual margin: give the claim one"
                if analysis.margin:
                    text += f" (that of analysis is of {analysis.metric})"
                raise UserError(text)
            margin = 0.1 if data <= _FINE else 0.3
        return margin / 100 if metric.points else margin

    def record(self, analysis: AnalysisRecord, arms: Arms, data: set[str]) -> ClaimRecord:
        """The claim as the plan has it, its arms by label.

        Raises:
            UserError: It names arms or levels that are not there, has an arm on two sides or needs
                a margin.
        """
        sides, levels = self.sides(arms)
        if len(sides) < 2:
            raise UserError(f"'{self.kind}' compares arms, and there is none beside {sides[0][0]}")
        for label, places in Counter(label for side in sides for label in side).items():
            if places > 1:
                raise UserError(f"the arm '{label}' is on two sides")
        time = self.time()
        found = ClaimRecord(
            name=self.name or self.words(),
            kind=self.kind,
            says=self.says,
            source=self.source,
            published=self.published,
            confound=self.confound,
            metric=None if time else self.metric or analysis.metric,
            at=self.at or analysis.at,
            time=time,
            margin=self.scored_margin(analysis, data),
            test=self.test,
            sides=tuple(tuple(side) for side in sides),
            levels=tuple(levels),
            options=self.own_keys(),
        )
        return found.model_copy(update={"hash": found.decisive()})
