"""When a factor's level is the one that a constraint or a claim asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_level(level: Any, wanted: Any) -> bool:
    """Whether a factor's level is the one wanted; a bare name means every level of that kind."""
    kind = level.get("kind") if isinstance(level, Mapping) else None
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (level, wanted))
    same = (numbers or type(level) is type(wanted)) and level == wanted
    return same or (isinstance(wanted, str) and kind == wanted)
