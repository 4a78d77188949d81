"""The JSON Schema of an output, with what its docstrings say of every key."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from normlab.cli.outputs import output_of
from normlab.cli.outputs.output import Part


def schema_of(command: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what a command prints with `--json`.

    A key that is not in it may come in a later release, so it forbids none.
    """
    made = output_of(command).model_json_schema(schema_generator=_Documented, mode="validation")
    return {
        "$schema": _Documented.schema_dialect,
        "title": f"normlab {command} --json",
        **{key: value for key, value in made.items() if key != "title"},
    }


def described(kind: type) -> tuple[str, dict[str, str]]:
    """The first paragraph of a class's docstring, and what its `Attributes:` says of each key."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition(
            "Attributes:\n"
        )
        for entry in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.M):
            found[entry[0]] = _sentence(entry[1])
    return _sentence(inspect.getdoc(kind) or "").partition("\n")[0], found


def _sentence(text: str) -> str:
    """Lines of a docstring as one, up to the first empty line, without reStructuredText's marks."""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


class _Documented(GenerateJsonSchema):
    """Every key has what its class's docstring says of it, and is always there."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        kind: type[BaseModel] = schema["cls"]
        made["description"], words = described(kind)
        made.pop("additionalProperties", None)
        for name, value in made.get("properties", {}).items():
            value.pop("title", None)
            if name in words:
                # A reference stands alone in older drafts; in 2020-12 words may stand beside it.
                value["description"] = words[name]
        if not (issubclass(kind, Part) and kind.sparse):
            for value in made.get("properties", {}).values():
                value.pop("default", None)
            made["required"] = list(made.get("properties", {}))
        return made
