"""What every claim may say in a study file, and how that becomes a record over arms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from normlab.arms import Arms, SideSelector, selector_text
from normlab.errors import UserError, nearest, unknown
from normlab.metrics import MEAN_OF_LAST, METRICS, WORST_OF_LAST
from normlab.recipe.component import Component, Spec, listed
from normlab.records.plan import AnalysisRecord, CellRecord, ClaimRecord, TimeRecord
from normlab.stats.claims.margins import Margin, as_margin, scored, usual

_OF_LAST = (WORST_OF_LAST, MEAN_OF_LAST)


def _epoch(value: object) -> object:
    """One message for all that is allowed."""
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    words = ["last", "best_validation"]
    text = str(value)
    if number or value in words or re.fullmatch(rf"({'|'.join(_OF_LAST)})[1-9][0-9]*", text):
        return value
    if text == "best_test":
        raise ValueError(
            "the best of many test scores is biased upwards, and never judged; it can be shown "
            "beside a source that took it, under 'published'"
        )
    words += [f"{prefix}5" for prefix in _OF_LAST]
    guess = nearest(text, words)
    hint = f" (nearest: '{guess}')" if guess else ""
    raise ValueError(f"allowed: {', '.join(words)}, or an epoch's number from 1 on{hint}")


def check_metric(value: str | None) -> str | None:
    """A validator of a metric's name, or of none.

    Raises:
        ValueError: No such metric.
    """
    if value is not None and value not in METRICS:
        raise ValueError(unknown("metric", value, METRICS))
    return value


Written = Annotated[float | str, BeforeValidator(as_margin)]
"""A margin as a study file has it."""
Positive = Annotated[float, Field(gt=0)]
At = Annotated[int | str, BeforeValidator(_epoch)]
Name = Annotated[str, Field(min_length=1)]


def _one_or_several(value: object) -> object:
    """One as a list of one; none stay none, since a study is read again from its own values."""
    return (value,) if isinstance(value, str) else listed(value)


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
        margin: Instead of the study's; in the metric's unit, or with one: `0.3 points`, `5 %`.
        paired: Whether its arms are compared seed by seed; instead of the study's.
        test: `t`, or `permutation` of seeds.
        within: Levels of other factors: only arms that have them are compared.
        cells: Factors: in how many cells of them the means agree with the claim is told beside the
            verdict. That tests nothing, since cells share seeds.
        declared: The release in which it was declared, if its author had seen results by then. It
            is a claim only on seeds from the study's `first_seed` on.
    """

    name: Name | None = None
    says: Name | None = None
    source: Name | None = None
    published: dict[str, float | str] = {}
    confound: Name | None = None
    metric: str | None = None
    at: At | None = None
    margin: Written | None = None
    paired: bool | None = None
    test: Test = "t"
    within: dict[str, object] = {}
    cells: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = ()
    declared: Name | None = None

    separator: ClassVar[str] = ", "
    """Between the sides of a claim that has no name."""
    least_sides: ClassVar[int] = 2
    fractions: ClassVar[bool] = True
    """Whether its margin may be percent of the other side's mean."""

    _known = field_validator("metric")(check_metric)

    def selectors(self) -> Sequence[SideSelector]:
        """What picks each side, in the order of the kind."""
        return ()

    def sides(self, arms: Arms) -> Sides:
        """The arms of each side.

        Args:
            arms: Those `within` the levels asked for.

        Raises:
            UserError: A selector fits no arm, or the kind cannot compare what is there.
        """
        return Sides([arms.pick_side(selector) for selector in self.selectors()])

    def own_keys(self, analysis: AnalysisRecord) -> dict[str, object]:
        """The kind's own keys that decide its verdict."""
        return {}

    def time(self) -> TimeRecord | None:
        """What is measured where that is a time."""
        return None

    def words(self) -> str:
        """A claim without a name: its kind and what its arms are picked by."""
        return f"{self.kind}: {self.separator.join(map(selector_text, self.selectors()))}"

    def heading(self) -> str:
        """Its name, or what it says and where."""
        place = f" within {selector_text(self.within)}" if self.within else ""
        return self.name or self.words() + place

    def scored_margin(self, analysis: AnalysisRecord, data: set[str]) -> Margin:
        """The margin in the scores' own unit, or as a fraction of a time.

        Args:
            analysis: Its margin holds for its metric.
            data: Kinds of the data sets that the study uses: they have usual margins.

        Raises:
            UserError: The metric has no usual margin, and none is given; or one of another unit.
        """
        name = self.metric or analysis.metric
        margin = self.margin or (analysis.margin if name == analysis.metric else None)
        found = usual(name, data) if margin is None else scored(margin, name)
        if found is not None:
            return found
        text = f"the metric '{name}' has no usual margin: give the claim one"
        if analysis.margin:
            text += f" (that of analysis is of {analysis.metric})"
        raise UserError(text)

    def _cells(self, arms: Arms) -> tuple[CellRecord, ...]:
        """The sides in each cell of the factors asked for that has all of them."""
        found = []
        for levels in arms.combinations(self.cells):
            try:
                sides = self.sides(arms.within(levels)).arms
            except UserError:  # a cell that lacks a side compares nothing
                continue
            found.append(
                CellRecord(cell=selector_text(levels), sides=tuple(tuple(side) for side in sides))
            )
        if self.cells and len(found) < 2:
            raise UserError(
                f"cells: the sides have {'no cell' if not found else 'one cell'} of "
                f"{', '.join(self.cells)} in common: leave 'cells' out, or name a factor that the "
                "sides are means over"
            )
        return tuple(found)

    def record(self, analysis: AnalysisRecord, arms: Arms, data: set[str]) -> ClaimRecord:
        """The claim as the plan has it, its arms by label.

        Raises:
            UserError: It names arms or levels that are not there, has an arm on two sides or needs
                a margin.
        """
        arms = arms.within(self.within)
        sides, levels = self.sides(arms)
        if len(sides) < self.least_sides:
            raise UserError(f"'{self.kind}' compares arms, and there is none beside {sides[0][0]}")
        for label, places in Counter(label for side in sides for label in side).items():
            if places > 1:
                raise UserError(f"the arm '{label}' is on two sides")
        time, margin = self.time(), self.scored_margin(analysis, data)
        if margin.relative and not self.fractions:
            raise UserError(f"'{self.kind}' compares no two sides: give its margin in s, as '5 s'")
        same = self.paired == analysis.paired
        found = ClaimRecord(
            name=self.heading(),
            kind=self.kind,
            says=self.says,
            source=self.source,
            published=self.published,
            confound=self.confound,
            metric=None if time else self.metric or analysis.metric,
            at=self.at or analysis.at,
            time=time,
            margin=margin.size,
            relative=margin.relative,
            paired=None if same else self.paired,
            test=self.test,
            sides=tuple(tuple(side) for side in sides),
            levels=tuple(levels),
            options=self.own_keys(analysis),
            cells=self._cells(arms),
            declared=self.declared,
        )
        return found.model_copy(update={"hash": found.decisive()})
