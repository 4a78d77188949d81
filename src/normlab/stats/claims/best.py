"""`best`: one side scores higher than every other.

    mean(arm) - mean(other) for every other: each above 0 (intersection-union)

Where that is open, the sides that could still be the best one are those that multiple comparison
with the best (Hsu 1984) does not exclude.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from normlab.arms import Arms, SideSelector, selector_text
from normlab.errors import listing
from normlab.records.plan import ClaimRecord
from normlab.stats.best import compare_with_best
from normlab.stats.claims.keys import ClaimKeys, Sides, Test
from normlab.stats.claims.several import Several
from normlab.stats.claims.sides import Side, differences, indicator, side_text
from normlab.stats.claims.verdict import Pair, Size, Verdict, Word
from normlab.stats.claims.words import Telling
from normlab.stats.contrasts import Estimates, pair_weights
from normlab.stats.intervals import Values


@dataclass(frozen=True)
class Best(Several):
    """`side` has a higher mean than each of `others`."""

    kind = "best"
    side: Side
    others: tuple[Side, ...]
    margin: float
    test: Test = "t"

    class Keys(ClaimKeys):
        """Arm scores higher than every other one, or than each of `over`."""

        title: ClassVar[str] = "claim 'best'"
        kind: Literal["best"]
        arm: SideSelector
        over: list[SideSelector] | None = None

        def selectors(self) -> Sequence[SideSelector]:
            """The best one first, and what `over` names."""
            return [self.arm, *(self.over or [])]

        def sides(self, arms: Arms) -> Sides:
            """The best one first; `over` left out, every other arm is a side."""
            found = [arms.pick_side(selector) for selector in self.selectors()]
            if self.over is None:
                found += [(label,) for label in arms if label not in found[0]]
            return Sides(found)

        def words(self) -> str:
            """As of every claim; `over` left out means every other arm."""
            others = map(selector_text, self.over) if self.over is not None else ["every other"]
            return f"{self.kind}: {', '.join([selector_text(self.arm), *others])}"

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The first side against all others."""
        return cls(sides[0], tuple(sides[1:]), record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The best one first."""
        return self.side, *self.others

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """The best one with each of the others."""
        return tuple((self.side, other) for other in self.others)

    @property
    def candidates(self) -> tuple[Side, ...]:
        """All."""
        return self.sides

    def contrasts(self, arms: int) -> Values:
        """(others, arms): side - other."""
        return differences(self.side, self.others, arms)

    def completed(
        self, judged: Verdict, measure: Callable[[Values], Estimates] | None, scores: Values
    ) -> Verdict:
        """With the sides that could still be the best one."""
        if judged.verdict == "supported":
            return replace(judged, candidates=(self.side,))
        if measure is None:
            return judged
        sides = np.vstack([indicator(side, len(scores)) for side in self.sides])
        every = measure(pair_weights(len(sides)) @ sides)
        # Limits are two-sided throughout, so half of alpha is left for the upper ones.
        excluded = compare_with_best(every, len(sides), alpha=judged.alpha / 2).excluded
        kept = (side for side, out in zip(self.sides, excluded, strict=True) if not out)
        return replace(judged, candidates=tuple(kept))

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """What is shown of the others."""
        if word == "supported":
            return "its interval lies above 0 against every other side"
        if word == "refuted":
            return "another side is better, also after correction for the number of sides"
        return "it is not shown better than every other side, and none is shown better than it"

    @classmethod
    def details(
        cls, found: Verdict, record: ClaimRecord, arms: Sequence[str]
    ) -> dict[str, list[str]]:
        """The sides that are better, and those that could be the best one."""
        if not found.pairs or found.verdict == "supported":
            return {}
        better = [side_text(pair.second, arms) for pair in found.pairs if pair.reversed]
        could = [side_text(side, arms) for side in found.candidates]
        return {"Better": better, "Could be the best": could}

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Which arm is the best, or which could be."""
        first, found = telling.sides[0], telling.found
        rival = "" if found.between is None else side_text(found.between[1], telling.names)
        where = telling.place
        if found.verdict == "supported":
            return (
                f"{first} is the best of {len(telling.sides)}{where}: it {telling.verb()} {rival}, "
                f"the closest, by {telling.amount()} {telling.evidence()}."
            )
        if found.verdict == "refuted":
            return (
                f"{first} is not the best{where}: {rival} {telling.verb()} it by "
                f"{telling.amount()} {telling.evidence(turned=True)}."
            )
        could = [side_text(side, telling.names) for side in found.candidates]
        names = f"; it could be {listing(could)}" if 0 < len(could) < len(telling.sides) else ""
        more = f": {telling.more}" if telling.more else ""
        return f"Whether {first} is the best{where}{telling.when} is open{names}{more}."
