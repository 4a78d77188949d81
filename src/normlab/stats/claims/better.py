"""`better`: one side scores higher than another.

mean(arm) - mean(over)     supported above 0, refuted where not above 0 and below the margin
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from normlab.arms import SideSelector
from normlab.stats.claims.keys import ClaimKeys
from normlab.stats.claims.two_sides import TwoSides
from normlab.stats.claims.words import Telling, beats, whether


@dataclass(frozen=True)
class Better(TwoSides):
    """`first` has a higher mean than `second`."""

    kind = "better"

    class Keys(ClaimKeys):
        """Arm scores higher than `over`."""

        title: ClassVar[str] = "claim 'better'"
        kind: Literal["better"]
        arm: SideSelector
        over: SideSelector

        def selectors(self) -> Sequence[SideSelector]:
            """Both."""
            return self.arm, self.over

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """Who beats whom by how much, or what is open."""
        first, second = telling.sides
        verb, place = telling.verb(), telling.place
        if telling.found.verdict == "supported":
            below = telling.found.size == "immaterially"
            note = f", less than the {telling.margin} that matter" if below else ""
            return (
                f"{first} {verb} {second}{place} by {telling.amount()}{note} {telling.evidence()}."
            )
        if telling.found.verdict == "refuted":
            if telling.found.high < 0:
                return beats(telling)
            return (
                f"{first} does not {telling.verb(plain=True)} {second}{place} by "
                f"{telling.margin} or more {telling.evidence(measured=True)}."
            )
        return whether(telling)
