"""The JSON Schemas in docs/schemas, from the models of what the commands print with `--json`.

    python docs/schemas.py     # write them again, after a model has changed

Keys may come, and stay: where one would go, or be renamed, nothing is written. Then `FORMAT` in
`normlab.cli.outputs.output` has to be raised first, and CHANGELOG.md says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from normlab.cli.outputs import OUTPUTS
from normlab.cli.outputs.output import FORMAT
from normlab.cli.outputs.schema import schema_of

FOLDER = Path(__file__).parent / "schemas"


def path_of(command: str) -> Path:
    return FOLDER / f"{command.replace(' ', '-')}.json"


def text_of(command: str) -> str:
    return json.dumps(schema_of(command), indent=2) + "\n"


def keys(schema: dict[str, Any]) -> Iterator[str]:
    """Every key that a document has, behind the part that it is in."""
    for name, part in {"": schema, **schema.get("$defs", {})}.items():
        yield from (f"{name}.{key}" for key in part.get("properties", {}))


def gone(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys that a program may rely on and would not find any more."""
    if before["properties"]["format"]["const"] != FORMAT:
        return []
    return sorted(set(keys(before)) - set(keys(now)))


def main() -> int:
    lost = [
        f"{command}: {key.lstrip('.')}"
        for command in OUTPUTS
        if path_of(command).exists()
        for key in gone(json.loads(path_of(command).read_text("utf-8")), schema_of(command))
    ]
    if lost:
        print("\n".join(["these keys were published, raise FORMAT first:", *lost]))
        return 1
    FOLDER.mkdir(exist_ok=True)
    for command in OUTPUTS:
        path_of(command).write_text(text_of(command), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
