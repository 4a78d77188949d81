"""Text of strangers: shown as it is, and never obeyed.

A label, a question or a reason may come from a study file or a store that somebody else wrote. A
terminal obeys control characters, a spreadsheet computes a cell that begins like a formula. The
other way round, what others are shown of a recipe names no folder of this machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import TypeVar, cast

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""These reorder what stands behind them: a name can look like another one."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What the cell of a formula begins with, in the usual spreadsheets."""


def one_form(name: str) -> str:
    """A name in the composed form (NFC): an accent as written by hand and by a Mac are one."""
    return unicodedata.normalize("NFC", name)


def is_control(character: str) -> bool:
    """Whether a terminal may obey a character instead of showing it; a line break is one."""
    return character in _BIDI or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def shown(text: str, *, lines: bool = False) -> str:
    r"""Text with every control character written out, as ``\x1b``.

    Args:
        text: Of anybody.
        lines: Leave line breaks and tabs.
    """
    if text.isprintable():
        return text
    return "".join(
        _written(c) if is_control(c) and not (lines and c in "\n\t") else c for c in text
    )


Plain = TypeVar("Plain")


def clean(data: Plain) -> Plain:
    """Plain data with the control characters of every string written out, keys too.

    Line breaks and tabs become blanks: texts of stores are shown in one line.
    """
    return cast("Plain", _clean(data))


def _clean(data: object) -> object:
    if isinstance(data, str):
        return shown(data.replace("\n", " ").replace("\t", " "))
    if isinstance(data, dict):
        return {_clean(key): _clean(value) for key, value in data.items()}
    return [_clean(value) for value in data] if isinstance(data, list) else data


def names_alone(data: Plain) -> Plain:
    """Plain data, as a recipe's, in which a path of the machine is its last part alone."""
    return cast("Plain", _names_alone(data))


def _names_alone(data: object) -> object:
    if isinstance(data, str):
        return name_alone(data)
    if isinstance(data, Mapping):
        return {str(key): _names_alone(value) for key, value in data.items()}
    return [_names_alone(value) for value in data] if isinstance(data, list | tuple) else data


def name_alone(text: str) -> str:
    """A text; of an absolute path, or one from a home folder, its last part."""
    if PurePosixPath(text).is_absolute() or text.startswith(("~", "file:")):
        return PurePosixPath(text).name
    return PureWindowsPath(text).name if PureWindowsPath(text).is_absolute() else text


def may_hide_controls(text: str) -> bool:
    """Whether JSON may hold a control character: an escape, DEL or one beyond ASCII can be one."""
    return not text.isascii() or "\\" in text or "\x7f" in text


def first_control(data: object) -> tuple[str, str] | None:
    """The first string in plain data that has a control character but a line break or tab.

    Returns:
        Where it is, dotted, and the string with the character written out.
    """
    if isinstance(data, str):
        made = shown(data, lines=True)
        return ("", made) if made != data else None
    if isinstance(data, dict):
        items: list[tuple[object, object]] = list(data.items())
    else:
        items = list(enumerate(data, start=1)) if isinstance(data, list | tuple) else []
    for key, value in items:
        name = shown(key) if isinstance(key, str) else str(key)
        if name != str(key):
            return name, name
        if found := first_control(value):
            return f"{name}.{found[0]}".rstrip("."), found[1]
    return None


def cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would compute gets a quotation mark.

    A number in words is left alone, as it computes to itself.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def from_cell(value: object) -> object:
    """What `cell` made a value of."""
    if isinstance(value, str) and value[:1] == "'" and value[1:].startswith(_FORMULA):
        return value[1:]
    return value


def _written(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
