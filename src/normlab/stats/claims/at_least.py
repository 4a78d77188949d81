"""`at_least`: one side reaches a value.

mean(arm) - value     supported at 0 or above, refuted below 0, by two one-sided limits

The t test's level holds for a spread over seeds that is about normal. Skewed downwards, or with
trainings that collapse, the mean of a few seeds lies above the true mean more often than below, and
the claim is wrongly supported in 14 to 59 % of studies (see `benchmarks/planted.py`). So it takes
five seeds, and says how many trials reached the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from normlab.arms import SideSelector, selector_text
from normlab.errors import UserError
from normlab.metrics import METRICS
from normlab.records.plan import AnalysisRecord, ClaimRecord
from normlab.stats.claims.claim import MeanClaim
from normlab.stats.claims.keys import ClaimKeys, Test
from normlab.stats.claims.margins import Margin
from normlab.stats.claims.planners import Planner, more_for_better
from normlab.stats.claims.rows import Row
from normlab.stats.claims.sides import Side, indicator
from normlab.stats.claims.verdict import Pair, Size, Verdict, Word
from normlab.stats.claims.words import Telling
from normlab.stats.contrasts import Estimates
from normlab.stats.intervals import Values
from normlab.stats.power import Design, better_power, seeds_for_better, smallest_effect
from normlab.wording import quantity

RESTS_ON = (
    "a spread over seeds that is about normal; with collapsing or left-skewed scores such a claim "
    "errs in 14 to 59 % of studies"
)


def _seeds(design: Design, margin: float, *, alpha: float, power: float) -> int | None:
    return seeds_for_better(design, margin, alpha=2 * alpha, power=power)


def _smallest(design: Design, seeds: int, *, alpha: float, power: float) -> float:
    return smallest_effect(design, seeds, alpha=2 * alpha, power=power)


def _power(design: Design, margin: float, seeds: int, *, alpha: float) -> float:
    return better_power(design, margin, seeds, alpha=2 * alpha)


def _more(
    design: Design, margin: float, seen: float, now: int, *, alpha: float, power: float
) -> int | None:
    return more_for_better(design, margin, seen, now, alpha=2 * alpha, power=power)


@dataclass(frozen=True)
class AtLeast(MeanClaim):
    """The mean of `side` is `value` or more.

    Attributes:
        side: An arm, or several whose means are averaged.
        value: In the scores' unit; of a score where less is better with a minus.
        margin: What seeds are planned for: a mean that lies so far above the value.
        test: Always t.
    """

    kind = "at_least"
    planner = Planner(_seeds, _smallest, _power, _more)
    one_sided_p = True
    fewest = 5
    least_sides = 1
    side: Side
    value: float
    margin: float
    test: Test = "t"

    class Keys(ClaimKeys):
        """Arm reaches a value."""

        title: ClassVar[str] = "claim 'at_least'"
        least_sides: ClassVar[int] = 1
        kind: Literal["at_least"]
        arm: SideSelector
        value: float
        """In the metric's unit: percent for accuracies and F1; of a loss the most it may be."""
        test: Literal["t"] = "t"

        def selectors(self) -> Sequence[SideSelector]:
            """The one."""
            return (self.arm,)

        def scored_margin(self, analysis: AnalysisRecord, data: set[str]) -> Margin:
            """What seeds are planned for; of a time a fraction of the value."""
            margin = super().scored_margin(analysis, data)
            size = margin.size * abs(self.value) if margin.relative else margin.size
            if not size > 0:
                raise UserError(f"value is {self.value:g}: give the claim a margin to plan with")
            return Margin(size, relative=False)

        def own_keys(self, analysis: AnalysisRecord) -> dict[str, object]:
            """The value, as a fraction of 1 where the metric is one."""
            name = self.metric or analysis.metric
            if not METRICS[name].points:
                return {"value": self.value}
            share = name.endswith(("accuracy", "_f1"))
            least = -100 if METRICS[name].signed else 0
            if (share and 0 < self.value < 1) or not least <= self.value <= 100:
                raise UserError(f"value is {self.value:g}: {name} is in percent, {least} to 100")
            return {"value": self.value / 100}

        def words(self) -> str:
            """Who reaches what."""
            return f"{selector_text(self.arm)} reaches {self.value:g}"

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The one side and the value."""
        value = float(str(record.options["value"]))
        higher = record.metric is None or METRICS[record.metric].higher
        return cls(sides[0], value if higher else -value, record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The one."""
        return (self.side,)

    @property
    def null(self) -> float:
        """The value."""
        return self.value

    def contrasts(self, arms: int) -> Values:
        """(1, arms): the mean over the side."""
        return indicator(self.side, arms)[None]

    def row(self, found: Estimates, alpha: float, margin: float) -> Row:
        """The lower limit at the value or above; the upper one below it."""
        low, high = found.limits(2 * alpha)
        return Row(low[..., 0] >= 0, high[..., 0] < 0)

    def level(self, word: Word, alpha: float) -> float:
        """Each limit is one-sided."""
        return 2 * alpha

    def p(self, found: Estimates, word: Word, margin: float) -> float:
        """One-sided: of lying below the value, or above it."""
        tail = found.below(0.0) if word == "refuted" else found.above(0.0)
        return float(tail[0])

    def size(self, low: Values, high: Values, margin: float) -> Size | None:
        """None: the value is what matters."""
        return None

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """Where the interval lies beside the value."""
        if word == "supported":
            return "the whole interval is at the value or better"
        if word == "refuted":
            return "the whole interval is worse than the value"
        return "the interval holds the value: neither reached nor missed is shown"

    def agrees(self, means: Values) -> bool:
        """At the value or above."""
        return bool((means >= 0).all())

    def completed(
        self, judged: Verdict, measure: Callable[[Values], Estimates] | None, scores: Values
    ) -> Verdict:
        """With how many trials of each arm reached the value."""
        reached = (scores[list(self.arms)] >= 0).sum(axis=1)
        return replace(judged, successes=tuple(int(count) for count in reached))

    @classmethod
    def details(
        cls, found: Verdict, record: ClaimRecord, arms: Sequence[str]
    ) -> dict[str, list[str]]:
        """How many trials reached the value, and what the level rests on."""
        unit = cls.unit(record)
        value = _number(unit.scale * float(str(record.options["value"])), _unit(record))
        labels = sorted(record.arms, key=list(arms).index)
        return {
            f"Trials at {value} or better": [
                f"{label} {count} of {seeds}"
                for label, count, seeds in zip(labels, found.successes, found.seeds, strict=True)
            ],
            "Rests on": [RESTS_ON],
        }

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Whether the value is reached, and by how many trials."""
        found, (side,) = telling.found, telling.sides
        record = telling.record
        spec, unit = METRICS[str(record.metric)], _unit(record)
        value = float(str(record.options["value"]))
        mean = value + (found.estimate if spec.higher else -found.estimate)
        goal = _number(telling.scale * value, unit)
        words = f"{'an' if spec.words[0] in 'aeiou' else 'a'} {spec.words} of"
        words += f" {goal}" if spec.higher else f" at most {goal}"
        trials = f"{sum(found.successes)} of {sum(found.seeds)} trials got there"
        where = f"{telling.place}{telling.when}"
        reaches, misses = ("reaches", "reach") if spec.higher else ("has", "have")
        if found.verdict == "inconclusive":
            said = f"Whether {side} {reaches} {words}{where}{telling.open}"
            return f"{said} {trials.capitalize()}."
        verb = reaches if found.verdict == "supported" else f"does not {misses}"
        return (
            f"{side} {verb} {words}{where}: its mean is "
            f"{_number(telling.scale * mean, unit, '.4g')}, {trials}."
        )


def _unit(record: ClaimRecord) -> str:
    """What values of the metric are shown in: percent where it is a share."""
    spec = METRICS[str(record.metric)]
    return "%" if spec.points and not spec.signed else spec.unit


def _number(value: float, unit: str, form: str = "g") -> str:
    """With its unit, which losses are shown without."""
    text = f"{value:{form}}"
    return text if unit == "nats" else quantity(text, unit)
