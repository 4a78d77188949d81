"""Numbers as tables show them; a dash where there is none."""

from __future__ import annotations

import math

_NONE = "–"


def is_missing(value: object) -> bool:
    """Whether a cell of a data frame has no value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def percent(value: object, digits: int = 2) -> str:
    """A fraction of 1 in percent."""
    found = _finite(value)
    return _NONE if found is None else f"{100 * found:.{digits}f}"


def interval(limits: tuple[object, object]) -> str:
    """Two fractions of 1 in percent."""
    return _NONE if _finite(limits[0]) is None else " to ".join(map(percent, limits))


def number(value: object, digits: int = 0) -> str:
    """With thousands set apart."""
    found = _finite(value)
    return _NONE if found is None else f"{found:,.{digits}f}"


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
