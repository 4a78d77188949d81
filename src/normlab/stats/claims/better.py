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
