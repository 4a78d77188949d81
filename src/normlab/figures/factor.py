"""`factor`: a metric against a factor, a line per level of another."""

from __future__ import annotations

from typing import ClassVar, Literal

from normlab.figures.against_factor import AgainstFactor
from normlab.figures.keys import Scale


class Factor(AgainstFactor):
    """A metric against a factor, a line per level of another: dots, means, intervals."""

    title: ClassVar[str] = "figure 'factor'"
    usual: ClassVar[str] = "A metric against a factor"
    kind: Literal["factor"]
    scale: Scale = "linear"
    """Of the horizontal axis."""

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return self.scale == "log"
