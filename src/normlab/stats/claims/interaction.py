"""`interaction`: what one side gains over another is more at one place than at another.

(mean(arm) - mean(over) at the first place) - (the same at the second)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from normlab.arms import SideSelector
from normlab.records.plan import ClaimRecord
from normlab.stats.claims.claim import MeanClaim
from normlab.stats.claims.keys import ClaimKeys, Test
from normlab.stats.claims.sides import Side, differences
from normlab.stats.claims.words import Telling
from normlab.stats.intervals import Values


@dataclass(frozen=True)
class Interaction(MeanClaim):
    """What `first` gains over `second` exceeds what `third` gains over `fourth`."""

    kind = "interaction"
    first: Side
    second: Side
    third: Side
    fourth: Side
    margin: float
    test: Test = "t"

    class Keys(ClaimKeys):
        """What arm gains over `over` is more at one place than at another."""

        title: ClassVar[str] = "claim 'interaction'"
        fractions: ClassVar[bool] = False
        kind: Literal["interaction"]
        arm: dict[str, object]
        over: dict[str, object]
        at_levels: dict[str, object]
        than_at: dict[str, object]

        def selectors(self) -> Sequence[SideSelector]:
            """Arm and over at the first place, then at the second."""
            places = (self.at_levels, self.than_at)
            return [{**arm, **place} for place in places for arm in (self.arm, self.over)]

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The four sides."""
        first, second, third, fourth = sides
        return cls(first, second, third, fourth, record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """All four."""
        return self.first, self.second, self.third, self.fourth

    def contrasts(self, arms: int) -> Values:
        """(1, arms): (first - second) - (third - fourth)."""
        gained = differences(self.first, (self.second,), arms)
        return gained - differences(self.third, (self.fourth,), arms)

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Which gain is larger."""
        a, b, c, d = telling.sides
        where = telling.place
        gains, second = f"{a} gains {{}} over {b}", f"{c} over {d}"
        (sides, there), (others, here) = telling.halves
        if sides == others and there and here:  # the same two, at two places
            gains, second, where = f"{sides[0]} gains {{}} over {sides[1]}{there}", here[1:], ""
        first = gains.format("more")
        if telling.found.verdict == "supported":
            return f"{first} than {second}{where}, by {telling.amount()} {telling.evidence()}."
        if telling.found.verdict == "refuted":
            if telling.found.high < 0:
                return (
                    f"{gains.format('less')} than {second}{where}, by {telling.amount()} "
                    f"{telling.evidence(turned=True)}."
                )
            return (
                f"It does not hold that {first} than {second}{where} by {telling.margin} or more "
                f"{telling.evidence(measured=True)}."
            )
        return f"Whether {first} than {second}{where}{telling.when}{telling.open}"
