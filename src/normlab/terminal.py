"""How text and tables look in a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from normlab.text import shown

_PLAIN_WIDTH = 120  # columns where the output is no terminal: files and pipes need no wrapping


class _Console(Console):
    """A console that shows control characters in strings instead of sending them."""

    def print(self, *objects: object, **options: Any) -> None:
        super().print(
            *(shown(o, lines=True) if isinstance(o, str) else o for o in objects), **options
        )


# Questions, labels and errors are shown as they are: none of their brackets is markup.
console = _Console(
    highlight=False,
    markup=False,
    width=None if sys.stdout is not None and sys.stdout.isatty() else _PLAIN_WIDTH,
)


MOST_ROWS = 200
"""Rows of a table, or lines of one sort, up to which all are shown."""
FEWER_ROWS = 50
"""Those shown of more."""

Shown = TypeVar("Shown")


def fewer(items: Sequence[Shown], what: str) -> tuple[Sequence[Shown], str]:
    """What is shown of many things, and a line about the others; all, and no line, of few.

    Args:
        items: The most interesting first.
        what: They are, in the plural.
    """
    if len(items) <= MOST_ROWS:
        return items, ""
    return items[:FEWER_ROWS], f"and {len(items) - FEWER_ROWS:,} more {what}; --json has all"


def print_json(data: object) -> None:
    """Plain JSON on standard output, for programs."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: Sequence[str] = ()
) -> Table:
    """A table with columns to the right, but for the first and those named in `left`."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        is_left = index == 0 or column in left
        made.add_column(column, justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else shown(str(cell)) for cell in row))
    return made
