"""Numbers and counts as tables and sentences show them; a dash where there is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_NONE = "–"
OUT_OF_REACH = 200
"""Seeds an arm beyond which a margin is out of reach for a study of trainings."""


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


def short(value: float, *, sign: bool = False) -> str:
    """To three digits, whole and with thousands set apart from 1,000 on."""
    plus = "+" if sign else ""
    big = math.isfinite(value) and abs(value) >= 999.5
    return f"{value:{plus},.0f}" if big else f"{value:{plus}.3g}"


def quantity(number: str, unit: str) -> str:
    """A number in words with its unit: 1 point, 2 points."""
    one = number.lstrip("+-") == "1" and unit in ("points", "nats", "steps")
    return f"{number} {unit.removesuffix('s') if one else unit}"


def reach_text(margin: str, reachable: str) -> str:
    """Which margin is out of reach, and which is not."""
    return f"a margin of {margin} is out of reach, one of {reachable} is not ({OUT_OF_REACH} seeds)"


def seeds_text(seeds: object) -> str:
    """Seeds that something takes; beyond reach no number says more than that."""
    if seeds == math.inf:
        return f"> {OUT_OF_REACH}"
    found = _finite(seeds)
    if found is None:
        return _NONE
    return f"{found:,.0f}" if found <= OUT_OF_REACH else f"> {OUT_OF_REACH}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 trial, 2 trials."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def span_text(low: int, high: int) -> str:
    """From the least to the most: 3, 2 to 4."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


SHARE = "share of a group's time"
"""What a trial's seconds are where it trained together with others."""


def share_mark(together: object) -> str:
    """What stands behind the seconds or the bytes of a trial that trained with so many."""
    return " *" if isinstance(together, int | float) and together > 1 else ""


def hours_text(hours: float) -> str:
    """Hours to two digits, with what is easier to read beside them: 0.012 hours (43 seconds)."""
    text = short_hours(hours)
    words = "1 hour" if text == "1" else f"{text} hours"
    if hours < 1 / 60:
        return f"{words} ({counted(round(3600 * hours), 'second')})"
    if hours < 1:
        return f"{words} ({counted(round(60 * hours), 'minute')})"
    return f"{words} ({number(round(hours / 24))} days)" if hours >= 48 else words


def rough_hours(hours: float) -> str:
    """Hours as one says them: 20 minutes, an hour, 3 hours."""
    if hours >= 1:
        return f"{hours:,.0f} hours" if hours >= 1.5 else "an hour"
    return counted(max(1, round(60 * hours)), "minute")


def short_hours(hours: float | None) -> str:
    """Hours alone, to two digits."""
    if hours is None:
        return _NONE
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def flops_text(count: int | None) -> str:
    """Floating point operations to three digits: 27.6 GFLOP."""
    return _scaled(count, "FLOP", 1000, ("", "k", "M", "G", "T", "P", "E", "Z"))


def bytes_text(count: int | None) -> str:
    """Bytes to three digits: 1.21 GiB."""
    return _scaled(count, "B", 1024, ("", "Ki", "Mi", "Gi", "Ti"))


def _scaled(count: int | None, unit: str, step: int, prefixes: Sequence[str]) -> str:
    if count is None:
        return _NONE
    value, power = float(count), 0
    while round(value) >= step and power < len(prefixes) - 1:
        value, power = value / step, power + 1
    digits = 0 if not power else max(2 - int(math.log10(max(value, 1))), 0)
    return f"{value:.{digits}f} {prefixes[power]}{unit}"


def state_counts(counts: Mapping[str, int]) -> str:
    """States with their counts: 12 complete, 3 pending."""
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
