"""What is measured, in words with its unit: for axes and the heads of tables."""

from __future__ import annotations

from normlab.metrics import METRICS
from normlab.records.plan import TimeRecord


def metric_title(metric: str) -> str:
    """Name and unit of a metric."""
    spec = METRICS[metric]
    words = spec.words[0].upper() + spec.words[1:]
    if spec.points:
        return f"{words}, points" if spec.signed else f"{words}, %"
    return words


def time_title(time: TimeRecord) -> str:
    """What a time is measured until."""
    what = {"seconds": "Seconds", "examples": "Images"}[time.clock]
    split = {"train": "running training", "validation": "validation"}[time.split]
    held = f" in {time.hold} epochs in a row" if time.hold > 1 else ""
    return f"{what} until {100 * time.target:g} % {split} accuracy{held}"
