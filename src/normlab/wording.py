"""Counts and fractions in words, as the command line and the API show them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def percent(value: float | None) -> str:
    """A fraction in percent with two digits, or a dash."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def interval(low: float, high: float) -> str:
    """Two fractions in percent, or a dash."""
    return "–" if math.isnan(low) else f"{percent(low)} to {percent(high)}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 trial, 2 trials."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def state_counts(counts: Mapping[str, int]) -> str:
    """States with their counts: 12 complete, 3 pending."""
    return ", ".join(f"{count} {state}" for state, count in counts.items())
