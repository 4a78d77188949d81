"""`not_better`: one side scores no higher than another, or by less than the margin.

mean(arm) - mean(over)     supported where not above 0 and below the margin, refuted above 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from normlab.arms import SideSelector
from normlab.stats.claims.claim import SIZES
from normlab.stats.claims.keys import ClaimKeys
from normlab.stats.claims.planners import Planner, more_for_better
from normlab.stats.claims.rows import Row, better_row
from normlab.stats.claims.two_sides import TwoSides
from normlab.stats.claims.verdict import Pair, Size, Word
from normlab.stats.claims.words import Telling, ahead, beats, whether
from normlab.stats.contrasts import Estimates, two_sided
from normlab.stats.intervals import Values
from normlab.stats.power import below_power, seeds_for_below, smallest_margin_above


@dataclass(frozen=True)
class NotBetter(TwoSides):
    """`first` has no higher mean than `second`, or higher by less than the margin."""

    kind = "not_better"
    planner = Planner(
        seeds_for_below, smallest_margin_above, below_power, more_for_better, truth=0.0
    )

    class Keys(ClaimKeys):
        """Arm scores no higher than `over`, or by less than the margin."""

        title: ClassVar[str] = "claim 'not_better'"
        kind: Literal["not_better"]
        arm: SideSelector
        over: SideSelector

        def selectors(self) -> Sequence[SideSelector]:
            """Both."""
            return self.arm, self.over

    def row(self, found: Estimates, alpha: float, margin: float) -> Row:
        """`better`, the other way round."""
        low, high = found.limits(alpha)
        better = better_row(low[..., 0], high[..., 0], margin)
        return Row(better.refuted, better.supported)

    def p(self, found: Estimates, word: Word, margin: float) -> float:
        """Of being below the margin; where it is refuted, of the difference from 0."""
        if word == "refuted":
            return float(two_sided(found)[0])
        return float(min(1.0, 2 * found.below(margin)[0]))

    def size(self, low: Values, high: Values, margin: float) -> Size | None:
        """None: a difference that is not there has no size."""
        return None

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """Where the interval lies beside 0 and the margin."""
        if word == "supported":
            if high < 0:
                return "the whole interval is on the worse side of 0"
            return "the interval reaches over 0, and the margin is out of it"
        if word == "refuted":
            return f"the whole interval is on the better side of 0, {SIZES[size]}"
        return "the interval reaches over 0 and to the margin or beyond: too wide to tell"

    def agrees(self, means: Values) -> bool:
        """Below the margin."""
        return bool((means < self.margin).all())

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Who is no better than whom, or what is open."""
        first, second = telling.sides
        if telling.found.verdict == "refuted":
            return ahead(telling)
        if telling.found.verdict == "supported":
            if telling.found.high < 0:
                return f"{first} is no better than {second}: {beats(telling)}"
            return (
                f"{first} is no better than {second}{telling.place} by {telling.margin} or more "
                f"{telling.evidence(measured=True)}."
            )
        return whether(telling)
