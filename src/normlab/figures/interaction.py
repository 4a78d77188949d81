"""`interaction`: a metric at every pair of levels of two factors."""

from __future__ import annotations

from typing import ClassVar, Literal

from normlab.figures.against_factor import AgainstFactor
from normlab.figures.keys import Names


class Interaction(AgainstFactor):
    """A metric at every pair of levels of two factors: parallel lines, no interaction."""

    title: ClassVar[str] = "figure 'interaction'"
    usual: ClassVar[str] = "Interaction of two factors"
    kind: Literal["interaction"]
    lines: Names
    named: ClassVar[bool] = True
