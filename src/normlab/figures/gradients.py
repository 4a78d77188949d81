"""`gradients`: norms of the gradient and of all weights, over epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from normlab.figures.epochs import READING, detail_rows
from normlab.figures.figure import OfArms, Source
from normlab.figures.keys import Scale
from normlab.figures.lines import line_chart
from normlab.figures.style import Chart
from normlab.lazy import pandas as pd

_NAMES = {"gradient_norm": "Gradient", "weight_norm": "Weights"}


class Gradients(OfArms):
    """Norms of the gradient and of all weights, over epochs."""

    uses_details: ClassVar[bool] = True
    title: ClassVar[str] = "figure 'gradients'"
    usual: ClassVar[str] = "Norms of gradient and weights"
    kind: Literal["gradients"]
    scale: Scale = "log"

    def rows(self, source: Source) -> pd.DataFrame:
        """Both norms (`panel`) of every epoch; see `over_seeds`."""
        return detail_rows(source.frames, self.labels(source), _NAMES, (0.0, math.inf))

    def reading(self, rows: pd.DataFrame) -> str:
        """When each of them is taken."""
        return (
            "2-norms: of the gradient, penalties included and before any clipping, mean over an "
            "epoch's steps, where the recipe's diagnostics ask for it; of all parameters after the "
            f"epoch. {READING}"
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel for each of them, each with its own axis."""
        return line_chart(rows, every, "2-norm", scale=self.scale, shared=False)
