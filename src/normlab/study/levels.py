"""A factor's levels: in few words, and when one is what a constraint or a claim asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from normlab.recipe import value_text


def is_level(level: Any, wanted: Any) -> bool:
    """Whether a factor's level is the one wanted; a bare name means every level of that kind."""
    kind = level.get("kind") if isinstance(level, Mapping) else None
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (level, wanted))
    same = (numbers or type(level) is type(wanted)) and level == wanted
    return same or (isinstance(wanted, str) and kind == wanted)


def level_text(level: Any, among: Sequence[Any]) -> str:
    """A level in few words: the kind alone where that tells it from the factor's other levels."""
    if not isinstance(level, Mapping):
        return value_text(level)
    kind = str(level.get("kind", ""))
    same_kind = [v for v in among if is_level(v, kind)]
    options = ", ".join(f"{key}={option}" for key, option in level.items() if key != "kind")
    if kind and len(same_kind) == 1:
        return kind
    return f"{kind}({options})"
