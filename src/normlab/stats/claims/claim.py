"""What every kind of claim has: its keys, its sides, its row of the verdicts' table, its words.

A kind is one class in one file beside this one, a frozen dataclass over arm indices. What stands
here is what most kinds share: a claim is supported where its one contrast lies above 0 and refuted
where it does not and is below the margin. Margins are in the unit of the scores (0.003 for 0.3
points of an accuracy); scores are taken as higher is better: negate a loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from normlab.errors import UserError, unknown
from normlab.metrics import METRICS
from normlab.records.plan import ClaimRecord
from normlab.stats.claims.evidence import by_t, estimates
from normlab.stats.claims.keys import ClaimKeys, Test
from normlab.stats.claims.planners import BETTER, Planner, observed_designs, planned_design
from normlab.stats.claims.rows import Row, better_row
from normlab.stats.claims.sides import Side, members
from normlab.stats.claims.verdict import Pair, Rules, Size, Verdict, Word
from normlab.stats.claims.words import Telling
from normlab.stats.contrasts import FEWEST, Estimates, two_sided
from normlab.stats.intervals import Values, moments
from normlab.stats.power import Design
from normlab.stats.survival import Times
from normlab.wording import quantity

TOO_FEW = "an arm has fewer than {} seeds: too few to tell a difference from repeat noise"

SIZES: dict[Size | None, str] = {
    "materially": "and above the margin, so the difference matters",
    "immaterially": "but below the margin, so the difference is too small to matter",
    None: "but reaches across the margin, so its size is open",
}


class Judged(NamedTuple):
    """A verdict, and its contrasts with their spreads where there are enough seeds to know them."""

    verdict: Verdict
    designs: Sequence[Design]


class Unit(NamedTuple):
    """How a number is shown: times `scale`, with `name` after it."""

    scale: float
    name: str

    @classmethod
    def named(cls, name: str) -> Self:
        """The unit of that name: fractions of 1 are shown times 100."""
        return cls(100.0 if name in ("points", "%") else 1.0, name)

    def text(self, value: float, form: str = "g") -> str:
        """The number in words."""
        return quantity(f"{self.scale * value:{form}}", self.name)


class Claim(ABC):
    """A kind of claim; the attributes below are what a kind may state otherwise.

    Attributes:
        kind: Its name in a study file.
        Keys: What it may say there.
        margin: In the scores' unit.
        test: `t` or `permutation`.
        planner: How its seeds are planned.
        one_sided_p: Whether its test is made of one-sided ones, so that half a p counts.
        fewest: Seeds of every arm from which on it is judged.
        least_sides: How many it has at least.
        null: What the contrast is measured from, in the scores' unit.
    """

    kind: ClassVar[str]
    Keys: ClassVar[type[ClaimKeys]]
    planner: ClassVar[Planner] = BETTER
    one_sided_p: ClassVar[bool] = False
    fewest: ClassVar[int] = FEWEST
    least_sides: ClassVar[int] = 2
    margin: float
    test: Test

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise UserError(f"{self.kind}: margin {self.margin} must be above 0")
        if self.test not in {"t", "permutation"}:
            raise UserError(f"{self.kind}: {unknown('test', self.test, ('t', 'permutation'))}")
        sides = [members(side) for side in self.sides]
        if any(not side for side in sides):
            raise UserError(f"{self.kind}: a side has no arm")
        if len(set(sides)) < len(sides):
            raise UserError(f"{self.kind}: two sides are the same arms")
        if len(sides) < self.least_sides:
            raise UserError(
                f"{self.kind}: needs {self.least_sides} sides or more, has {len(sides)}"
            )

    # -- sides and contrasts ---------------------------------------------------------------

    @classmethod
    @abstractmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The claim that a plan's record stands for.

        Args:
            record: The claim.
            sides: Its sides as arm indices.
        """

    @property
    @abstractmethod
    def sides(self) -> tuple[Side, ...]:
        """All sides, in the order of the claim."""

    @property
    def null(self) -> float:
        """0 for a difference."""
        return 0.0

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """Of a claim that several pairs must fulfil: each, in the order of the contrasts."""
        return ()

    @property
    def candidates(self) -> tuple[Side, ...]:
        """Sides that could be the best one before anything is known; of other claims none."""
        return ()

    @property
    def alternatives(self) -> int:
        """How many ways it can be refuted: what the refuting limits are corrected for."""
        return max(1, len(self.pairs))

    @property
    def arms(self) -> tuple[int, ...]:
        """The arms that the claim speaks of."""
        return tuple(sorted({arm for side in self.sides for arm in members(side)}))

    @abstractmethod
    def contrasts(self, arms: int) -> Values:
        """Weights (contrasts, arms) of the arms' means."""

    # -- judging ---------------------------------------------------------------------------

    @abstractmethod
    def judge(
        self, trials: npt.ArrayLike | Times, rules: Rules, rng: np.random.Generator
    ) -> Judged:
        """The verdict of trials, without the seeds that would settle it; see `claims.verdict`."""

    def row(self, found: Estimates, alpha: float, margin: float) -> Row:
        """What estimates (..., contrasts) support and refute; see `normlab.stats.claims.rows`."""
        low, high = found.limits(alpha)
        return better_row(low[..., 0], high[..., 0], margin)

    def level(self, word: Word, alpha: float) -> float:
        """The error rate of the limits that are shown with a verdict."""
        return alpha / self.alternatives if word == "refuted" else alpha

    def p(self, found: Estimates, word: Word, margin: float) -> float:
        """Two-sided p that is at most alpha exactly where the verdict is not open."""
        if word == "refuted":
            return float(min(1.0, 2 * found.below(margin)[0]))
        return float(two_sided(found)[0])

    def size(self, low: Values, high: Values, margin: float) -> Size | None:
        """Whether what is supported lies above the margin or below it; None where that is open."""
        if (low > margin).all():
            return "materially"
        return "immaterially" if (high < margin).any() else None

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """Why a verdict is what it is, in one plain sentence."""
        if word == "supported":
            return f"the whole interval is on the claim's side of 0, {SIZES[size]}"
        if word == "refuted":
            if high < 0:
                return "the whole interval is on the other side of 0: the reverse holds"
            return "the interval reaches over 0, and the margin is out of it"
        return "the interval reaches over 0 and to the margin or beyond: too wide to tell"

    def compared(self, found: Estimates, word: Word, alpha: float) -> tuple[Pair, ...]:
        """Each pair of a claim that several must fulfil."""
        return ()

    def outcome(
        self, found: Estimates, *, alpha: float, margin: float, seeds: Sequence[int]
    ) -> Verdict:
        """The verdict on estimates, without the seeds that would settle it.

        Args:
            found: Estimates of its contrasts (contrasts,).
            alpha: What it is tested at.
            margin: In the unit of the estimates.
            seeds: As of `Verdict.seeds`.
        """
        row = self.row(found, alpha, margin)
        word: Word = "supported" if row.supported else "refuted" if row.refuted else "inconclusive"
        level = self.level(word, alpha)
        low, high = found.limits(level)
        at = int(high.argmin() if word == "refuted" else low.argmin())
        size = self.size(low, high, margin) if word == "supported" else None
        pairs = self.compared(found, word, alpha)
        return Verdict(
            kind=self.kind,
            verdict=word,
            reason=self.reason(word, size, float(high[at]), pairs),
            estimate=float(found.estimate[at]),
            low=float(low[at]),
            high=float(high[at]),
            confidence=1 - level,
            p=self.p(found, word, margin),
            alpha=alpha,
            margin=margin,
            seeds=tuple(seeds),
            between=self.pairs[at] if self.pairs else None,
            size=size,
            pairs=pairs,
        )

    def agrees(self, means: Values) -> bool:
        """Whether estimated contrasts (contrasts,) point the claim's way; that tests nothing."""
        return bool((means > 0).all())

    def unknown(
        self, seen: Values, rules: Rules, seeds: tuple[int, ...], reason: str | None = None
    ) -> Verdict:
        """The verdict where there is no interval: inconclusive, whatever was seen."""
        at = int(seen.argmin())
        return Verdict(
            kind=self.kind,
            verdict="inconclusive",
            reason=reason or TOO_FEW.format(self.fewest),
            estimate=float(seen[at]),
            low=np.nan,
            high=np.nan,
            confidence=1 - rules.claim_alpha,
            p=np.nan,
            alpha=rules.claim_alpha,
            margin=self.margin,
            seeds=seeds,
            between=self.pairs[at] if self.pairs else None,
            candidates=self.candidates,
        )

    # -- planning --------------------------------------------------------------------------

    def within_reach(self, found: Estimates, alpha: float, span: float) -> tuple[bool, bool]:
        """Whether intervals as narrow as these could support it, and refute it.

        Args:
            found: Estimates of no difference, at the smallest spread there can be.
            alpha: What it is tested at.
            span: Largest difference of two scores.
        """
        half = float(found.limits(alpha / self.alternatives)[1].max())
        return half < span, half < span

    def planned_designs(self, spreads: Values, rules: Rules, correlation: float) -> list[Design]:
        """Its contrasts with the spreads that are planned with; see `claims.plan_claim`."""
        weights = self.contrasts(len(spreads))
        return [planned_design(row, spreads, rules, correlation) for row in weights]

    # -- words -----------------------------------------------------------------------------

    @classmethod
    def planned_unit(cls, record: ClaimRecord) -> Unit:
        """How margins, spreads and effects are shown while planning."""
        if record.relative:
            return Unit.named("%")
        assert record.metric is not None
        return Unit.named(METRICS[record.metric].unit)

    @classmethod
    def unit(cls, record: ClaimRecord) -> Unit:
        """How estimates are shown."""
        return cls.planned_unit(record)

    @classmethod
    def axis(cls, record: ClaimRecord) -> str:
        """What a figure of estimates has on its axis."""
        assert record.metric is not None
        spec = METRICS[record.metric]
        words = "Difference" if record.metric == "test_accuracy" else f"Difference in {spec.words}"
        less = "" if spec.higher else "; left is better"
        return f"{words}, {cls.unit(record).name}{less}"

    @classmethod
    def as_measured(cls, found: Verdict, record: ClaimRecord) -> tuple[float, float, float]:
        """Estimate, lower and upper limit with the metric's own sign: a loss that falls has minus.

        A verdict is about scores, of which more is better.
        """
        if record.metric is None or METRICS[record.metric].higher:
            return found.estimate, found.low, found.high
        return -found.estimate, -found.high, -found.low

    @classmethod
    @abstractmethod
    def sentence(cls, telling: Telling) -> str:
        """The verdict as one plain sentence with numbers and units."""

    @classmethod
    def details(
        cls, found: Verdict, record: ClaimRecord, arms: Sequence[str]
    ) -> dict[str, list[str]]:
        """What a verdict leaves open or rests on, by arm, where its reason does not say it all."""
        return {}


class MeanClaim(Claim):
    """A claim about means over seeds of a score."""

    def judge(
        self, trials: npt.ArrayLike | Times, rules: Rules, rng: np.random.Generator
    ) -> Judged:
        """Judge scores (arms, seeds), NaN where a trial does not count."""
        if isinstance(trials, Times):
            raise UserError(f"{self.kind}: needs scores, not times")
        scores = np.asarray(trials, dtype=float) - self.null
        if rules.paired:  # only the seeds that every arm of the claim has
            complete = ~np.isnan(scores[list(self.arms)]).any(axis=0)
            scores = np.where(complete, scores, np.nan)
        arms, weights = moments(scores), self.contrasts(len(scores))
        seeds = tuple(int(count) for count in arms.seeds[list(self.arms)])
        if min(seeds) < self.fewest:
            seen = by_t(scores, weights, rules).estimate
            return Judged(self.completed(self.unknown(seen, rules, seeds), None, scores), [])
        measure = partial(estimates, self.kind, self.test, scores, rules=rules, rng=rng)
        judged = self.outcome(
            measure(weights), alpha=rules.claim_alpha, margin=self.margin, seeds=seeds
        )
        whole = self.completed(judged, measure, scores)
        return Judged(whole, observed_designs(scores, weights, rules))

    def completed(
        self, judged: Verdict, measure: Callable[[Values], Estimates] | None, scores: Values
    ) -> Verdict:
        """The verdict with what else its scores tell.

        Args:
            judged: The verdict.
            measure: Estimates of other contrasts (contrasts, arms) of the same scores; None where
                there are too few seeds.
            scores: (arms, seeds), measured from `null`.
        """
        return judged
