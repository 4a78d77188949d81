"""Study files: found by bundled name or path, read as YAML 1.2 numbers and without surprises."""

from __future__ import annotations

import re
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from normlab.errors import UserError, unknown


def bundled() -> dict[str, Path]:
    """The studies that come with normlab, by name."""
    folder = Path(str(files("normlab") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(reference: str | Path) -> Path:
    """The file of a study given by bundled name or by path.

    Raises:
        UserError: Neither; the nearest bundled name is suggested.
    """
    name = str(reference)
    known = bundled()
    if name in known:
        return known[name]
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"} or path.name != name:
        raise UserError(f"there is no study file {path}")
    raise UserError(unknown("study", name, known) + " A path to a study file works too.")


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: Not readable, not YAML, a key given twice, or not a mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}: a mapping is needed")
    return content


def parse_yaml(text: str) -> Any:
    """Plain data from YAML, with ``1e-3`` a number and a repeated key an error.

    Raises:
        yaml.YAMLError: Not valid YAML, or a key given twice in one mapping.
    """
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


class _Loader(yaml.SafeLoader):
    """Safe, and stricter than PyYAML's own: see `parse_yaml`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1 and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes 1e-3 for a string: to it a float needs a dot.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
