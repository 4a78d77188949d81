"""What all outputs of `--json` share: how they are made, checked and printed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Annotated, ClassVar, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, model_validator

from normlab import streams

FORMAT = 1
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

    Numbers that are not finite are null before they are looked at, so a key that may have none
    says so in its type.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    sparse: ClassVar[bool] = False
    """Whether keys that have a default may be left out; otherwise all are there."""


class Output(Part):
    """What a command prints with `--json`.

    Attributes:
        format: 1; another number would mean that keys were renamed or taken away.
    """

    format: int

    @model_validator(mode="before")
    @classmethod
    def _of_plain_data(cls, data: object) -> object:
        made = plain(data)
        return {"format": FORMAT, **made} if isinstance(made, dict) else made


def plain(data: object) -> object:
    """Plain data of what commands work with.

    Data classes and named tuples become mappings, paths and other texts strings, NumPy's scalars
    Python's; a number that is none or infinite becomes None.
    """
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, float):
        return float(data) if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json")
    if is_dataclass(data) and not isinstance(data, type):
        return {field.name: plain(getattr(data, field.name)) for field in fields(data)}
    if isinstance(data, tuple | list | set | frozenset):
        return [plain(value) for value in data]
    if isinstance(data, PurePath):
        return str(data)
    return plain(data.item()) if hasattr(data, "item") else data


def print_output(output: Output) -> None:
    """Print an output as one JSON document on standard output.

    Only ASCII is printed: no control character of a label reaches a terminal.
    """
    found = output.model_dump(mode="json", exclude_unset=True)
    stream = streams.answer()
    stream.write(json.dumps(found, indent=2, allow_nan=False) + "\n")
    stream.flush()
