"""`dots`: metrics arm by arm, a dot per seed with mean and interval."""

from __future__ import annotations

from typing import ClassVar, Literal

from normlab.figures.by_arm import ByArm


class Dots(ByArm):
    """Metrics arm by arm: a dot per seed, mean and interval, on an axis that fits them."""

    title: ClassVar[str] = "figure 'dots'"
    kind: Literal["dots"]
    mean_mark: ClassVar[str] = "large mark"
