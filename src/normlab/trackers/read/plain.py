"""What tools keep as JSON or text, as the parameters and numbers of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from normlab.text import shown

_WORDS = {
    "NaN": math.nan,
    "nan": math.nan,
    "Infinity": math.inf,
    "inf": math.inf,
    "-Infinity": -math.inf,
    "-inf": -math.inf,
}
_DEEPEST = 20  # levels of a configuration; below them it is one text


def parsed(text: str | bytes) -> object:
    """A value of JSON.

    Raises:
        ValueError: It is none, or one that is nested without end.
    """
    try:
        return json.loads(text)
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def flat(
    data: Mapping[str, object], *, prefix: str = "", deepest: int = _DEEPEST
) -> dict[str, str]:
    """A nested configuration by dotted keys, its values as text."""
    found: dict[str, str] = {}
    for key, value in data.items():
        name = f"{prefix}{shown(str(key))}"
        if isinstance(value, dict) and value and deepest:
            found |= flat(value, prefix=f"{name}.", deepest=deepest - 1)
        else:
            found[name] = said(value)
    return found


def said(value: object) -> str:
    """A value as people write it: text as it is, `True`, `None`, a list as JSON."""
    if isinstance(value, list | dict):
        try:
            return shown(json.dumps(value, ensure_ascii=False))
        except RecursionError:
            return "(nested without end)"
    return shown(str(value))


def numeric(value: object) -> float | None:
    """A number of JSON, or the word for one that is not finite; None for anything else."""
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    return _WORDS.get(value) if isinstance(value, str) else None


def numbers(data: Mapping[str, object], *, prefix: str = "") -> dict[str, float]:
    """The numbers of a nested mapping by dotted keys; what is no number is not there.

    The keys are as they are: whoever shows them writes out their control characters.
    """
    found: dict[str, float] = {}
    for key, value in data.items():
        number = value if type(value) is float else numeric(value)
        if number is not None:
            found[f"{prefix}{key}"] = number
        elif isinstance(value, dict) and "_type" not in value and prefix.count(".") < _DEEPEST:
            found |= numbers(value, prefix=f"{prefix}{key}.")
    return found
