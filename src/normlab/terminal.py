"""How text and tables look in a terminal."""

from __future__ import annotations

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


def fewer(
    items: Sequence[Shown], noun: str, where: str = "--json", *, most: int = MOST_ROWS
) -> tuple[Sequence[Shown], str]:
    """What is shown of many things, and a line about the others; all, and no line, of few.

    Args:
        items: The most interesting first.
        noun: One of them, in the singular.
        where: What shows all of them.
        most: Up to so many are few.
    """
    if len(items) <= most:
        return items, ""
    some = items[: min(most, FEWER_ROWS)]
    count = len(items) - len(some)
    return some, f"and {count:,} more {noun}{'s' if count > 1 else ''}; {where} has all"


def print_lines(
    lines: Sequence[str], noun: str, where: str = "--json", *, most: int = MOST_ROWS
) -> None:
    """Lines of one sort, each whole however long it is; of many some, see `fewer`."""
    some, more = fewer(lines, noun, where, most=most)
    for line in (*some, *filter(None, [more])):
        console.print(line, soft_wrap=True)


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
