"""`sparsity`: share of weights that an L1 penalty brought near zero, over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import field_validator

from normlab.figures.epochs import READING, chosen_layers, details, left_out, over_seeds
from normlab.figures.figure import Source, noted
from normlab.figures.layers import OfLayers
from normlab.figures.lines import line_chart
from normlab.figures.style import Chart
from normlab.lazy import pandas as pd

_RECORDED = (0.001, 0.01)


class Sparsity(OfLayers):
    """Share of weights that an L1 penalty brought near zero, over epochs."""

    title: ClassVar[str] = "figure 'sparsity'"
    usual: ClassVar[str] = "Weights near zero"
    kind: Literal["sparsity"]
    threshold: float = 0.01
    """Relative to the largest value of the same weight: 0.001 or 0.01."""

    @field_validator("threshold")
    @classmethod
    def _recorded(cls, value: float) -> float:
        if value not in _RECORDED:
            raise ValueError("0.001 or 0.01 is allowed: these are recorded")
        return value

    def rows(self, source: Source) -> pd.DataFrame:
        """Shares in percent below the threshold per weight (`panel`); see `over_seeds`."""
        at = _RECORDED.index(self.threshold)
        found = list(details(source.frames, self.labels(source), "sparsity"))
        names = chosen_layers([shares for *_, shares in found], self.layers, "weight")
        rows = [
            {"arm": arm, "epoch": epoch, "panel": name, "value": 100 * shares[name][at]}
            for arm, epoch, shares in found
            for name in names
            if name in shares
        ]
        there = {name for *_, shares in found for name in shares}
        made = over_seeds([pd.DataFrame(rows)], source.frames.arms, (0.0, 100.0))
        return noted(made, there=len(there))

    def reading(self, rows: pd.DataFrame) -> str:
        """What is near zero, and how many weights there are."""
        return (
            f"Share of each weight's values below {self.threshold:g} of its largest one. {READING}"
            + left_out(len(set(rows["panel"])), rows.attrs["there"], "weights")
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per weight."""
        return line_chart(rows, every, f"Values near zero (below {self.threshold:g}), %")
