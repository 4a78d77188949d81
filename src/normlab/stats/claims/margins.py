"""Margins with a unit: `0.3`, `0.3 points`, `5 %` of a time, `30 s`, `0.05 nats` of a loss."""

from __future__ import annotations

import math
import re
from collections.abc import Set
from typing import NamedTuple, get_args

from normlab.errors import UserError, listing
from normlab.metrics import METRICS, Unit

_WRITTEN = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(%|[a-z]*)\s*")
_UNITS = ("%", *get_args(Unit))
USUAL_OF_TIMES = 0.05
"""Of a time, as a fraction."""
_FINE = {"digits", "mnist", "fashion-mnist", "kmnist"}
"""Data sets on which a tenth of a point is a difference."""


class Margin(NamedTuple):
    """A margin as a claim has it: `size` in the scores' unit, or a fraction where `relative`."""

    size: float
    relative: bool


def as_margin(value: object) -> object:
    """A validator: a number above 0, or text of a number and a unit."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(float(str(value))) and float(str(value)) > 0:
        return value
    if isinstance(value, str):
        size, unit = _split(value)
        if size and unit in _UNITS:
            return value
    allowed = "a number above 0, or one with its unit: 0.3 points, 5 %, 30 s, 0.05 nats"
    raise ValueError(allowed + " is needed")


def scored(margin: float | str, metric: str) -> Margin:
    """A margin of a metric in the scores' unit.

    Raises:
        UserError: A unit that the metric does not have, with the way out.
    """
    spec = METRICS[metric]
    size, unit = _split(margin) if isinstance(margin, str) else (float(margin), spec.unit)
    if unit == "%" and spec.unit != "s":
        raise UserError(
            f"margin is '{margin}': percent of the other side's mean are for times alone, and "
            f"{metric} is in {spec.unit}: give the margin in {spec.unit}"
        )
    if unit not in ("%", spec.unit):
        units = [spec.unit, "%"] if spec.unit == "s" else [spec.unit]
        raise UserError(f"margin is '{margin}': {metric} is in {listing(units)}")
    if unit == "%":
        return Margin(size / 100, relative=True)
    return Margin(size / 100 if spec.points else size, relative=False)


def usual(metric: str, data: Set[str]) -> Margin | None:
    """The margin of a metric where none is given; None where there is no usual one.

    Args:
        metric: Its name.
        data: Kinds of the data sets that the study uses.
    """
    if METRICS[metric].unit == "s":
        return Margin(USUAL_OF_TIMES, relative=True)
    if METRICS[metric].points:
        return scored(0.1 if data and data <= _FINE else 0.3, metric)
    return None


def fraction(value: object) -> object:
    """A validator: `5 %` as 0.05, numbers as they are."""
    if isinstance(value, str):
        size, unit = _split(value)
        if size and unit == "%":
            return size / 100
    return value


def _split(text: str) -> tuple[float, str]:
    """Number and unit; 0 where there is no number."""
    found = _WRITTEN.fullmatch(text)
    try:
        if found is None:
            return 0.0, ""
        return float(found[1]), "points" if found[2] == "point" else found[2]
    except ValueError:
        return 0.0, ""
