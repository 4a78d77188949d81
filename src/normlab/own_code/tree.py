"""What of a source text can change a result: its syntax tree without comments and docstrings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields that hold statements, or what holds them."""


class Imported(NamedTuple):
    """An import: a module's absolute name, and the name taken from it, if one is."""

    module: str
    taken: str | None


def parse(source: bytes | str) -> ast.Module | None:
    """The tree of a source text; None where it is no Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Look(NamedTuple):
    """A file's hash, of its tree if it is Python and else of its bytes, and its imports."""

    digest: str
    imports: tuple[Imported, ...]


@lru_cache(maxsize=4096)
def look(source: bytes, package: str = "") -> Look:
    """Look at a file; the same content of one package is looked at once."""
    tree = parse(source)
    if tree is None:
        return Look(_hash(source), ())
    return Look(_hash(text(tree).encode()), tuple(dict.fromkeys(imports(tree, package))))


def fingerprint_of(nodes: Iterable[ast.AST]) -> str:
    """Hash of some statements, in their order."""
    return _hash("\n".join(map(text, nodes)).encode())


def text(node: ast.AST) -> str:
    """A tree in one line, the same for any layout and for any version of Python that knows it.

    `ast.dump` is not: it writes empty fields in one version and leaves them out in the next.
    Statements that are only a constant do nothing: docstrings, strings that stand as comments.
    """
    fields = []
    for name, value in ast.iter_fields(node):
        if name in {"ctx", "type_comment", "kind", "type_ignores"}:
            continue  # said by the place in the tree, or a comment
        if isinstance(value, list):
            parts = [_part(item) for item in value if not _does_nothing(item)]
            value_text = f"[{','.join(parts)}]" if parts else ""
        else:
            value_text = (
                "" if value is None and not isinstance(node, ast.Constant) else _part(value)
            )
        if value_text:
            fields.append(f"{name}={value_text}")
    return f"{type(node).__name__}({','.join(fields)})"


def imports(tree: ast.AST, package: str) -> Iterator[Imported]:
    """Every import of a tree, also those inside functions, none that only type checkers see.

    Args:
        tree: Of a module, or a statement of it.
        package: What the dots of relative imports stand for; "" for none.
    """
    for node in _run(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(alias.name, None)
        elif isinstance(node, ast.ImportFrom) and (module := _absolute(node, package)):
            for alias in node.names:
                yield Imported(module, None if alias.name == "*" else alias.name)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])]) if all(above) else ""


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement but those in the bodies of ``if TYPE_CHECKING:``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        unseen = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for name in _BODIES[1:] if unseen else _BODIES:
            inside = getattr(node, name, None)
            waiting += inside if isinstance(inside, list) else ()


def _does_nothing(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _part(value: object) -> str:
    return text(value) if isinstance(value, ast.AST) else repr(value)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
