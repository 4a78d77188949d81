"""What `better` and `equal` share: one side against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from normlab.records.plan import ClaimRecord
from normlab.stats.claims.claim import MeanClaim
from normlab.stats.claims.keys import Test
from normlab.stats.claims.sides import Side, differences
from normlab.stats.intervals import Values


@dataclass(frozen=True)
class TwoSides(MeanClaim):
    """A claim about the mean of `first` minus that of `second`."""

    first: Side
    second: Side
    margin: float
    test: Test = "t"

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """The claim of a record with two sides."""
        first, second = sides
        return cls(first, second, record.margin, record.test)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both."""
        return self.first, self.second

    def contrasts(self, arms: int) -> Values:
        """(1, arms): first - second."""
        return differences(self.first, (self.second,), arms)
