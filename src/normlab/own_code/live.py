"""Code that lies in no module's file: cells of a notebook, a script that is run, a prompt.

Of such a module the named class or function counts, and all the definitions of the same module
that it uses, directly or through others: a notebook's other cells change nothing.
"""

from __future__ import annotations

import ast
import inspect
import symtable
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple, TypeGuard

from normlab.own_code.tree import fingerprint_of, parse

_RUN = {"__main__", "__mp_main__"}
"""A script that is run, and what it is called in a worker process."""


class Reached(NamedTuple):
    """What counts of a module.

    Attributes:
        names: The definitions, the named one first.
        digest: Hash of them.
        nodes: Their statements, as far as there is source.
    """

    names: tuple[str, ...]
    digest: str
    nodes: tuple[ast.AST, ...]


def is_run(name: str) -> bool:
    """Whether a module is the one that Python was started with."""
    return name in _RUN


def reached(module_name: str, attribute: str) -> Reached | None:
    """What a class or function of a loaded module is made of; None if it is not there."""
    module = sys.modules.get(module_name)
    first = attribute.partition(".")[0]
    if module is None or first not in vars(module):
        return None
    known: dict[str, list[ast.stmt]] = {}
    for cell in _cells(module):
        tree = parse(cell)
        for name, statements in _defined(tree.body if tree else []).items():
            if any(name in _makes(node) for node in statements):
                known[name] = statements  # made anew: what an older cell said is over
            else:
                known[name] = [*known.get(name, ()), *statements]
    waiting, nodes, compiled = [first], {}, {}
    while waiting:
        name = waiting.pop()
        if name in nodes or name in compiled:
            continue
        if statements := known.get(name) or _source(vars(module).get(name)):
            nodes[name] = statements
            used = {used for node in statements for used in _uses(node)}
        else:
            compiled[name] = _bytecode(vars(module).get(name))
            used = set(compiled[name].names)
        waiting += sorted(other for other in used if other in known or _is_ours(module, other))
    ordered = [first, *sorted((nodes.keys() | compiled.keys()) - {first})]
    statements = [node for name in ordered for node in nodes.get(name, ())]
    texts = "".join(compiled[name].text for name in ordered if name in compiled)
    digest = fingerprint_of([*statements, ast.Constant(texts)])
    return Reached(tuple(ordered), digest, tuple(statements))


def _cells(module: ModuleType) -> Iterator[str]:
    """The texts that made a module, the oldest first: its file, or a notebook's cells."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str) and Path(file).is_file():
        yield Path(file).read_text(encoding="utf-8", errors="replace")
    else:
        yield from (cell for cell in vars(module).get("In", ()) if isinstance(cell, str))


def _defined(body: Iterable[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """The statements of a text that make or change each name of its top level."""
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        for name in (*_makes(node), *_changes(node)):
            found.setdefault(name, []).append(node)
        inner: list[ast.stmt] = []
        if isinstance(node, ast.If) and "__name__" not in ast.unparse(node.test):
            inner = [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            inner = [*node.body, *node.orelse, *node.finalbody]
            inner += [child for handler in node.handlers for child in handler.body]
        elif isinstance(node, ast.With | ast.For | ast.While):
            inner = node.body
        for name in _defined(inner):
            found.setdefault(name, []).append(node)
    return found


def _makes(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield (alias.asname or alias.name).partition(".")[0]
        case ast.Assign() | ast.AnnAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (t.id for target in targets for t in _leaves(target) if _is_name(t))


def _changes(node: ast.stmt) -> Iterator[str]:
    """The names a statement changes and does not make: of ``Net.forward = f`` it is ``Net``."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else targets
    for target in targets:
        for leaf in _leaves(target):
            bottom = leaf
            while isinstance(bottom, ast.Attribute | ast.Subscript):
                bottom = bottom.value
            is_changed = bottom is not leaf or isinstance(node, ast.AugAssign)
            if is_changed and isinstance(bottom, ast.Name):
                yield bottom.id


def _leaves(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Starred):
        yield from _leaves(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from _leaves(item)
    else:
        yield target


def _is_name(node: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def _uses(node: ast.stmt) -> set[str]:
    """The names of its module that a statement reads; not those of its own locals."""
    tables = [symtable.symtable(ast.unparse(node), "definition", "exec")]
    used: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        outer = table.get_type() == "module"
        used |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (outer or symbol.is_global())
        }
    return used


def _is_ours(module: ModuleType, name: str) -> bool:
    """Whether a name of a module stands for a class, function or plain value made in it."""
    value = vars(module).get(name)
    if isinstance(value, type | FunctionType):
        return value.__module__ == module.__name__ or {value.__module__, module.__name__} <= _RUN
    return isinstance(value, int | float | str | tuple | list | dict) and not name.startswith("_")


def _source(value: object) -> list[ast.stmt]:
    """Its statement, where Python keeps the text of what was typed; else nothing."""
    if not isinstance(value, type | FunctionType):
        return []
    try:
        tree = parse(inspect.cleandoc(inspect.getsource(value)))
    except (OSError, TypeError):
        return []
    return tree.body if tree else []


class _Compiled(NamedTuple):
    text: str
    names: tuple[str, ...]


def _bytecode(value: object) -> _Compiled:
    """What is left of code whose text nobody kept: all but its docstrings."""
    texts: list[str] = []
    names: list[str] = []
    for code, doc in _codes(value):
        constants = [c for c in code.co_consts if not isinstance(c, CodeType) and c != doc]
        texts.append(f"{code.co_name} {code.co_code.hex()} {code.co_names} {constants!r}")
        names += code.co_names
    return _Compiled("\n".join(texts) or repr(value), tuple(names))


def _codes(value: object) -> Iterator[tuple[CodeType, str | None]]:
    """The compiled code of a function or class, each with its docstring where it has one."""
    if isinstance(value, CodeType | FunctionType):
        code, doc = (
            (value, None) if isinstance(value, CodeType) else (value.__code__, value.__doc__)
        )
        yield code, doc
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _codes(constant)
    elif isinstance(value, staticmethod | classmethod):
        yield from _codes(value.__func__)
    elif isinstance(value, property):
        yield from _codes(value.fget)
    elif isinstance(value, type):
        for member in vars(value).values():
            if not isinstance(member, type):
                yield from _codes(member)
