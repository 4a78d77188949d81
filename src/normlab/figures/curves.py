"""`curves`: a metric of every epoch, mean over seeds with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from normlab.figures.epochs import READING, drawn_epochs, over_seeds
from normlab.figures.figure import Needs, OfArms, Source
from normlab.figures.keys import Scale, Splits
from normlab.figures.lines import line_chart
from normlab.figures.style import Chart
from normlab.lazy import pandas as pd

SPLIT_TITLES = {"train": "Train (running)", "validation": "Validation", "test": "Test"}

_TITLES = {
    "accuracy": "Accuracy, %",
    "macro_f1": "Macro F1, %",
    "micro_f1": "Micro F1, %",
    "ece": "Calibration error, %",
    "loss": "Loss",
    "lr": "Learning rate",
    "seconds": "Seconds of an epoch",
    "examples_per_second": "Training images per second",
}
_PERCENT = ("accuracy", "macro_f1", "micro_f1", "ece")
OF_SPLITS = (*_PERCENT, "loss")
"""The metrics that each split has of its own."""


def words_of_metric(metric: str) -> str:
    """What a curve shows, without its unit."""
    return _TITLES[metric].partition(",")[0]


class Curves(OfArms):
    """A metric of every epoch: mean over seeds with its band, a panel per split."""

    title: ClassVar[str] = "figure 'curves'"
    usual: ClassVar[str] = "While training"
    kind: Literal["curves"]
    metric: Literal[
        "accuracy", "loss", "macro_f1", "micro_f1", "ece", "lr", "seconds", "examples_per_second"
    ] = "accuracy"
    splits: Splits = ("train", "validation", "test")
    scale: Scale = "linear"

    def needs(self) -> Needs:
        """Of several splits those that are there are shown; one alone must be there."""
        return Needs(frozenset(self.splits) if len(self.splits) == 1 else frozenset())

    def rows(self, source: Source) -> pd.DataFrame:
        """A metric of every epoch per arm and split (`panel`); see `over_seeds`."""
        epochs = drawn_epochs(source.frames, self.labels(source))
        scale = 100.0 if self.metric in _PERCENT else 1.0
        columns: dict[str, str] = {"": self.metric}
        if self.metric in OF_SPLITS:
            columns = {SPLIT_TITLES[split]: f"{split}_{self.metric}" for split in self.splits}
        parts = [
            epochs[["arm", "epoch"]].assign(panel=panel, value=scale * epochs[column])
            for panel, column in columns.items()
            if column in epochs
        ]
        most = 100.0 if self.metric in _PERCENT else math.inf
        return over_seeds(parts, source.frames.arms, (0.0, most))

    def title_of(self, rows: pd.DataFrame) -> str:
        """The metric while training."""
        return f"{words_of_metric(self.metric)} while training"

    def reading(self, rows: pd.DataFrame) -> str:
        """Bands, and what the training curve is."""
        if self.metric in OF_SPLITS and SPLIT_TITLES["train"] in set(rows["panel"]):
            return (
                f"{READING} The training curve is a running one: each batch is scored before its "
                "update."
            )
        return READING

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A panel per split."""
        return line_chart(rows, every, _TITLES[self.metric], scale=self.scale)
