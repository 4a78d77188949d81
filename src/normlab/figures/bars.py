"""`bars`: metrics arm by arm as bars from 0."""

from __future__ import annotations

from typing import ClassVar, Literal

from normlab.figures.by_arm import ByArm


class Bars(ByArm):
    """Metrics arm by arm as bars from 0, with intervals."""

    title: ClassVar[str] = "figure 'bars'"
    kind: Literal["bars"]
    mean_mark: ClassVar[str] = "bar"
    has_bars: ClassVar[bool] = True
