"""What of a source text can change a result: its syntax tree without comments and docstrings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields that hold statements, or what holds them."""


_LONG = 10**1000


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
    written: list[str] = []
    waiting: list[ast.AST | str] = [node]  # no recursion: a long sum is a deep tree
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            written.append(part)
        else:
            waiting += reversed(_pieces(part))
    return "".join(written)


def _pieces(node: ast.AST) -> list[ast.AST | str]:
    """A node as text, but for the nodes in it; fields that hold nothing are left out."""
    pieces: list[ast.AST | str] = []
    for name, value in ast.iter_fields(node):
        if name in {"ctx", "type_comment", "kind", "type_ignores"}:
            continue  # said by the place in the tree, or a comment
        if isinstance(value, list):
            parts = [_piece(item) for item in value if not _does_nothing(item)]
            if parts:
                pieces += [",", f"{name}=[", parts[0]]
                pieces += [piece for part in parts[1:] for piece in (",", part)] + ["]"]
        elif value is not None or isinstance(node, ast.Constant):
            pieces += [",", f"{name}=", _piece(value)]
    return [f"{type(node).__name__}(", *pieces[1:], ")"]


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
        unseen = isinstance(node, ast.If) and _is_checking(node.test)
        for name in _BODIES[1:] if unseen else _BODIES:
            inside = getattr(node, name, None)
            waiting += inside if isinstance(inside, list) else ()


def _is_checking(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING`, of whatever module."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _does_nothing(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _piece(value: object) -> ast.AST | str:
    if isinstance(value, int) and abs(value) >= _LONG:
        return hex(value)  # Python refuses to write so long a number in decimal
    return value if isinstance(value, ast.AST) else repr(value)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
