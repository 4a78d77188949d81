"""`ranking`: each side scores higher than the next.

mean(side i) - mean(side i + 1) for every neighbouring pair: each above 0 (intersection-union)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from normlab.arms import SideSelector
from normlab.records.plan import ClaimRecord
from normlab.stats.claims.keys import ClaimKeys, Test
from normlab.stats.claims.several import Several, in_order
from normlab.stats.claims.sides import Side, differences, side_text
from normlab.stats.claims.verdict import Pair, Size, Verdict, Word
from normlab.stats.claims.words import Telling
from normlab.stats.intervals import Values


@dataclass(frozen=True)
class Ranking(Several):
    """Each side has a higher mean than the next."""

    kind = "ranking"
    order: tuple[Side, ...]
    margin: float
    test: Test = "t"

    class Keys(ClaimKeys):
        """Each of `order` scores higher than the next."""

        title: ClassVar[str] = "claim 'ranking'"
        separator: ClassVar[str] = " > "
        kind: Literal["ranking"]
        order: Annotated[list[SideSelector], Field(min_length=2)]

        def selectors(self) -> Sequence[SideSelector]:
            """From the highest to the lowest."""
            return self.order

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """From the best to the worst."""
        return cls(tuple(sides), record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """From the best to the worst."""
        return self.order

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """Each side with the next."""
        return tuple(zip(self.order, self.order[1:], strict=False))

    def contrasts(self, arms: int) -> Values:
        """(sides - 1, arms): each minus the next."""
        return np.vstack([differences(first, (second,), arms) for first, second in self.pairs])

    def reason(self, word: Word, size: Size | None, high: float, pairs: Sequence[Pair]) -> str:
        """How many pairs are shown in order."""
        if word == "supported":
            return "every neighbouring pair is in the claimed order"
        if word == "refuted":
            return (
                "a neighbouring pair is in the reverse order, also after correction for their "
                "number"
            )
        holding = sum(pair.holds for pair in pairs)
        return f"{holding} of {len(pairs)} neighbouring pairs are shown in order, none in reverse"

    @classmethod
    def details(
        cls, found: Verdict, record: ClaimRecord, arms: Sequence[str]
    ) -> dict[str, list[str]]:
        """The pairs in order, in reverse and open."""
        return {} if found.verdict == "supported" else in_order(found, arms)

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Whether the order holds, or which pair is in reverse."""
        found, where = telling.found, telling.place
        order = f"The order {' > '.join(telling.sides)}"
        if found.verdict == "supported":
            return f"{order} holds{where} {telling.evidence()}."
        if found.verdict == "refuted" and found.between is not None:
            high, low = (side_text(side, telling.names) for side in reversed(found.between))
            return (
                f"{order} does not hold{where}: {high} {telling.verb()} {low} by "
                f"{telling.amount()} {telling.evidence(turned=True)}."
            )
        shown = sum(pair.holds for pair in found.pairs)
        pairs = f", {shown} of {len(found.pairs)} neighbouring pairs shown" if found.pairs else ""
        more = f": {telling.more}" if telling.more else ""
        return f"{order} is open{where}{telling.when}{pairs}{more}."
