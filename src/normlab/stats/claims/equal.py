"""`equal`: two sides differ by less than the margin (two one-sided tests, Schuirmann 1987).

supported: the (1 - 2 alpha) interval of the difference lies inside -margin to margin
refuted:   the (1 - alpha) interval lies outside of it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from normlab.arms import SideSelector
from normlab.stats.claims.keys import ClaimKeys
from normlab.stats.claims.planners import Planner
from normlab.stats.claims.rows import Row, equal_row
from normlab.stats.claims.two_sides import TwoSides
from normlab.stats.claims.verdict import Pair, Size, Word
from normlab.stats.claims.words import Telling, ahead, beats
from normlab.stats.contrasts import Estimates, tost
from normlab.stats.intervals import Values
from normlab.stats.power import (
    Design,
    equal_power,
    seeds_for_better,
    seeds_for_equal,
    smallest_margin,
)


def _more(
    design: Design, margin: float, seen: float, now: int, *, alpha: float, power: float
) -> int | None:
    """Seeds that the margin needs; if there are that many, what the difference seen needs."""
    seeds = seeds_for_equal(design, margin, alpha=alpha, power=power)
    if seeds is None or seeds > now:
        return seeds
    if abs(seen) < margin:
        return seeds_for_equal(design, margin, effect=abs(seen), alpha=alpha, power=power)
    return seeds_for_better(design, abs(seen) - margin, alpha=alpha, power=power)


@dataclass(frozen=True)
class Equal(TwoSides):
    """The means of `first` and `second` differ by less than the margin."""

    kind = "equal"
    planner = Planner(seeds_for_equal, smallest_margin, equal_power, _more, truth=0.0)
    one_sided_p = True

    class Keys(ClaimKeys):
        """Arm and `to` differ by less than the margin."""

        title: ClassVar[str] = "claim 'equal'"
        kind: Literal["equal"]
        arm: SideSelector
        to: SideSelector

        def selectors(self) -> Sequence[SideSelector]:
            """Both."""
            return self.arm, self.to

    def row(self, found: Estimates, alpha: float, margin: float) -> Row:
        """Inside the margins, or outside of them."""
        inner, outer = found.limits(2 * alpha), found.limits(alpha)
        return equal_row(
            (inner[0][..., 0], inner[1][..., 0]), (outer[0][..., 0], outer[1][..., 0]), margin
        )

    def level(self, word: Word, alpha: float) -> float:
        """Two one-sided tests at alpha each; outside the margins it is one two-sided test."""
        return alpha if word == "refuted" else 2 * alpha

    def p(self, found: Estimates, word: Word, margin: float) -> float:
        """Of the two one-sided tests; or of being outside the margins."""
        if word != "refuted":
            return float(tost(found, margin)[0])
        return float(min(1.0, 2 * min(found.above(margin)[0], found.below(-margin)[0])))

    def size(self, low: Values, high: Values, margin: float) -> Size | None:
        """None: what is shown equal has no size."""
        return None

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """Where the interval lies beside the margins."""
        if word == "supported":
            return "the interval lies wholly between minus and plus the margin"
        if word == "refuted":
            return "the whole interval lies outside the margin"
        return "the interval reaches across the margin: neither equal nor different is shown"

    def agrees(self, means: Values) -> bool:
        """Between minus and plus the margin."""
        return bool((np.abs(means) < self.margin).all())

    def within_reach(self, found: Estimates, alpha: float, span: float) -> tuple[bool, bool]:
        """The narrow interval must fit between the margins, or beside them within the span."""
        inner, half = (float(found.limits(level)[1].max()) for level in (2 * alpha, alpha))
        return inner < self.margin, self.margin + half < span

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Whether both are alike, or who beats whom."""
        first, second = telling.sides
        if telling.found.verdict == "supported":
            return (
                f"{first} and {second} differ by less than {telling.margin}{telling.place} "
                f"{telling.evidence(measured=True)}."
            )
        if telling.found.verdict == "refuted":
            if telling.found.estimate < 0:
                return beats(telling)
            return ahead(telling)
        more = f": {telling.more}" if telling.more else ""
        return f"{first} and {second} cannot be told apart yet{telling.place}{telling.when}{more}."
