"""What all outputs of `--json` share: how they are made, checked and printed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from normlab import streams

FORMAT: Literal[1] = 1
"""Of all outputs: raised where a key is taken away, renamed or gets another meaning."""

Plain: TypeAlias = dict[str, JsonValue]
"""Plain data whose keys somebody else chose: recipe keys, say."""


def _whole(value: object) -> object:
    """A column of counts in which some are missing has floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count: TypeAlias = Annotated[int, BeforeValidator(_whole)]
"""A whole number, from a data frame."""


class Part(BaseModel):
    """A part of an output: it has these keys and no others, each of its type.

    A number that is none or infinite is null: a key that may have one says so in its type.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    sparse: ClassVar[bool] = False
    """Whether keys that have a default may be left out; otherwise all are there."""


class Output(Part):
    """What a command prints with `--json`.

    Attributes:
        format: 1; another number would mean that keys were renamed or taken away.
    """

    format: Literal[1]


def print_output(kind: type[Output], **values: object) -> None:
    """Print an output as one JSON document on standard output.

    Only what ASCII prints is written: no control character of a label reaches a terminal.

    Args:
        kind: The output's model.
        values: What it has, as the command works with it; see `plain`.
    """
    found = kind.model_validate({"format": FORMAT, **plain_items(values)})
    data = found.model_dump(mode="json", exclude_unset=True)
    text = json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")
    stream = streams.answer()
    stream.write(f"{text}\n")
    stream.flush()


def plain(data: object) -> object:
    """Plain data of what commands work with.

    Data classes and named tuples become mappings, paths strings, NumPy's scalars Python's; a number
    that is none or infinite becomes None.
    """
    found: object = data
    if isinstance(data, float):
        found = float(data) if math.isfinite(data) else None
    elif isinstance(data, Mapping):
        found = plain_items(data)
    elif is_dataclass(data) and not isinstance(data, type):
        found = plain_items({field.name: getattr(data, field.name) for field in fields(data)})
    elif isinstance(data, tuple | list | set | frozenset):
        found = [plain(value) for value in data]
    elif isinstance(data, PurePath):
        found = str(data)
    elif hasattr(data, "item"):
        found = plain(data.item())
    return found


def plain_items(data: Mapping[Any, object]) -> dict[str, object]:
    """A mapping of plain data by names."""
    return {str(key): plain(value) for key, value in data.items()}
