"""`agc`: share of units that adaptive gradient clipping clipped, over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from normlab.figures.epochs import READING, detail_rows
from normlab.figures.figure import OfArms, Source
from normlab.figures.lines import line_chart
from normlab.figures.style import Chart
from normlab.lazy import pandas as pd


class Agc(OfArms):
    """Share of units that adaptive gradient clipping clipped, over epochs."""

    uses_details: ClassVar[bool] = True
    title: ClassVar[str] = "figure 'agc'"
    usual: ClassVar[str] = "Units clipped by adaptive gradient clipping"
    kind: Literal["agc"]

    def rows(self, source: Source) -> pd.DataFrame:
        """Shares in percent; see `over_seeds`."""
        names = {"agc_clipped": ""}
        return detail_rows(source.frames, self.labels(source), names, (0.0, 100.0), scale=100.0)

    def reading(self, rows: pd.DataFrame) -> str:
        """What is counted."""
        return f"Share of units whose gradient was clipped, mean over an epoch's steps. {READING}"

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """One panel."""
        return line_chart(rows, every, "Units clipped, %")
