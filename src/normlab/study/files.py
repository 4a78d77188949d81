"""Study files: found by bundled name or path, read as safe YAML without surprises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from normlab.disk_names import as_on_disk
from normlab.errors import UserError, unknown
from normlab.text import first_control, one_form

LONGEST = 1 << 20
"""Bytes of a study file."""
_MOST_VALUES = 50_000
"""Keys and values of a study file, those of a repeated alias counted each time."""
_DEEPEST = 100


def bundled() -> dict[str, Path]:
    """The studies that come with normlab, by name."""
    folder = Path(str(files("normlab") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def find(reference: str | Path) -> Path:
    """The file of a study given by bundled name or by path.

    Raises:
        UserError: Neither; the nearest bundled name is suggested.
    """
    name = one_form(str(reference))
    known = bundled()
    if name in known:
        return known[name]
    try:
        path = as_on_disk(Path(reference).expanduser())
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # a name too long, no such home
        raise UserError(f"there is no study '{name}': {error}") from None
    if path.suffix in {".yaml", ".yml"} or path.name != str(reference):
        raise UserError(f"there is no study file {path}")
    raise UserError(unknown("study", name, known) + " A path to a study file works too.")


def read_text(reference: str | Path) -> str:
    """The text of a study's file, by bundled name or by path.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    path = find(reference)
    try:
        with path.open("rb") as stream:
            content = stream.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise UserError(f"{path} is no study file: it has more than {LONGEST:,} bytes")
        return content.decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def read(path: Path) -> dict[str, object]:
    """The mapping in a YAML file.

    Raises:
        UserError: Not readable, not YAML, a key given twice, or not a mapping.
    """
    return content_of(read_text(path), path)


def content_of(text: str, path: Path) -> dict[str, object]:
    """The mapping in a YAML file's text; `path` is for the messages.

    Raises:
        UserError: Not YAML, a key given twice, or not a mapping.
    """
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise UserError(f"{path} {found}: a mapping is needed")
    if (strange := first_control(content)) is not None:
        raise UserError(f"{path}: {strange[0]} has a control character: {strange[1]}")
    return content


def parse_yaml(text: str) -> object:
    """Plain data from YAML: safe, and with a repeated key an error.

    Numbers and truth values are those of YAML 1.2: ``1e-3`` is a number, ``010`` is ten, ``on`` and
    ``2020-01-01`` are words. Letters with accents are one form of theirs (NFC), however typed.

    Raises:
        yaml.YAMLError: Not valid YAML, or a key given twice in one mapping.
    """
    try:
        found: object = yaml.load(one_form(text), _Loader)  # noqa: S506 (a SafeLoader)
    except (ValueError, RecursionError) as error:  # of a number too long, of brackets too deep
        raise yaml.YAMLError(str(error)) from None
    return found


class _Loader(yaml.SafeLoader):
    """Safe, and stricter than PyYAML's own: see `parse_yaml`."""

    yaml_implicit_resolvers = {}  # none of YAML 1.1's: ours follow
    yaml_constructors = {  # no sets, dates or bytes, which no study has
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (
            None,
            *map("tag:yaml.org,2002:{}".format, ("null", "bool", "float", "str", "seq", "map")),
        )
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values: dict[yaml.Node, int] = {}
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count before anything is made of it: ten aliases of ten aliases of ... fill a memory."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        node = super().compose_node(parent, index) if self._depth <= _DEEPEST else None
        self._depth -= 1
        if node is None:
            raise yaml.composer.ComposerError(None, None, f"deeper than {_DEEPEST} levels", mark)
        if is_alias and node not in self._values:
            raise yaml.composer.ComposerError(None, None, "an alias stands for itself", mark)
        if not is_alias:
            inner: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [
                part for pair in inner for part in (pair if isinstance(pair, tuple) else [pair])
            ]
            self._values[node] = 1 + sum(self._values[part] for part in parts)
        if self._values[node] > _MOST_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {_MOST_VALUES:,} values, aliases counted each time", mark
            )
        return node

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        seen = Counter(str(key.value) for key, _ in node.value)
        for key, _ in node.value:
            if seen[str(key.value)] > 1 and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"^(?:{_pattern})$"),
        [*_first, ""] if _tag == "null" else list(_first),
    )
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(loader.construct_scalar(node)),  # type: ignore[arg-type]
)
