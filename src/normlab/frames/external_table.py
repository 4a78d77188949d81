"""A table of trials as text, however its program wrote it: separators, decimal marks, blanks.

What a spreadsheet of another country or a logger makes of a table is read; what can be read in two
ways is refused. Cells stay text until somebody asks for numbers.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from normlab.errors import UserError, listing
from normlab.lazy import pandas as pd
from normlab.text import one_form

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "–", "—", "?"})
"""Cells without a number, in small letters."""
_NUMBER = re.compile(r"[-+]?(\d[\d.,'’\s]*|[.,]\d+)([eE][-+]?\d+)?")
PERCENT = "_percent"
"""At the end of a column's name: numbers of 100."""
_WIDEST = 1_000_000  # characters in a cell
_GREATEST = 1e38  # beyond it 32 bits overflow
LARGEST = 2**63 - 1
"""The largest whole number of a seed or an epoch: what 64 bits hold."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a file, or of what another tool logged.

    Attributes:
        path: The file or the tool's folder.
        cells: Text, a column for each of the file's, by the names that are known where they are.
            Columns of floats are numbers already.
        lines: The line of the file that each row begins at.
        written: What the file calls its columns, by the names in `cells`.
        comma: Whether decimals stand behind a comma.
        runs: The name of the run that each row is of; empty for a file.
    """

    path: Path
    cells: pd.DataFrame
    lines: tuple[int, ...]
    written: dict[str, str]
    comma: bool
    runs: tuple[str, ...] = ()

    def where(self, row: int) -> str:
        """The place of a row, by its number from 0, for a message."""
        if self.runs:
            return f"{self.path}, run '{self.runs[row]}'"
        return f"{self.path}, line {self.lines[row]}"

    def numbers(self, name: str) -> pd.Series[float]:
        """A column as numbers, NaN where there is none.

        Raises:
            UserError: A cell that is neither empty nor a number.
        """
        cells = self.cells[name]
        if cells.dtype.kind == "f":
            return cells.astype(float)
        percent, values = name.endswith(PERCENT), []
        for row, text in enumerate(cells):
            value = number(text.removesuffix("%").strip() if percent else text, comma=self.comma)
            if value is None:
                hint = (
                    f": percents stand in a column {name}{PERCENT}"
                    if text.endswith("%")
                    else ": a number is needed"
                )
                raise UserError(f"{self.where(row)}: {self.said(name)} is '{text}'{hint}")
            values.append(value)
        return pd.Series(values, index=self.cells.index, dtype=float)

    def plain(self, name: str) -> pd.Series:
        """A column as numbers where all its cells are some, else as text; NaN where it is empty."""
        texts = self.cells[name]
        if texts.dtype.kind == "f":
            return texts.astype(float)
        numbers = [number(text, comma=self.comma) for text in texts]
        if None not in numbers:
            return pd.Series(numbers, index=self.cells.index, dtype=float)
        found = [text if text.lower() not in MISSING else math.nan for text in texts]
        return pd.Series(found, index=self.cells.index, dtype=object)

    def said(self, name: str) -> str:
        """A column as the file writes it, where that is another name."""
        written = self.written.get(name, name)
        return name if written == name else f"{name} ('{written}')"

    def decimals(self, name: str) -> int | None:
        """The most digits behind the decimal mark in a column; None without a number."""
        found = []
        for text in map(_text_of, self.cells[name]):
            plain = _plain_number(text.removesuffix("%").strip(), comma=self.comma)
            if plain is not None:
                found.append(max(0, -int(Decimal(plain).as_tuple().exponent)))
        return max(found, default=None)


def read_table(
    path: Path,
    known: Iterable[str],
    numeric: Iterable[str],
    renamed: Mapping[str, str] | None = None,
) -> Table:
    """Read a file of trials.

    Args:
        path: The file.
        known: Names that columns may have, in whatever case, with blanks or "%" in them.
        numeric: Of these, the ones whose cells are numbers: they tell the decimal mark.
        renamed: What the file calls some of them.

    Raises:
        UserError: It cannot be read, has no header or no rows, rows of other lengths, two columns
            of one name, or numbers that can be read in two ways.
    """
    header, rows, lines, mark = _split(path, _text(path))
    names, written = _names(path, header, known, renamed or {})
    if not rows:
        raise UserError(f"{path} has a header and no rows")
    for line, row in zip(lines, rows, strict=True):
        if len(row) > len(header) and not any(row[len(header) :]):
            del row[len(header) :]
        if len(row) != len(header):
            decimal = (
                ". Are there decimal commas in it? Then another separator is needed, or quotes"
                if mark == "," and len(row) > len(header)
                else ""
            )
            raise UserError(
                f"{path}, line {line} has {len(row)} cells and the header {len(header)}, "
                f"separated by {_SEPARATORS.get(mark, 'blanks')}{decimal}"
            )
    cells = pd.DataFrame(rows, columns=names, dtype=object)
    used = [name for name in dict.fromkeys(numeric) if name in cells]
    comma = _decimal_comma(path, cells, used, lines)
    return Table(path=path, cells=cells, lines=tuple(lines), written=written, comma=comma)


def header(path: Path, known: Iterable[str]) -> dict[str, str]:
    """What a file calls its columns, by the names that are known; its rows are not looked at.

    Raises:
        UserError: It cannot be read, is empty, or has two columns of one name.
    """
    titles, _, _, _ = _split(path, _text(path), most=0)
    return _names(path, titles, known, {})[1]


def number(text: str, *, comma: bool) -> float | None:
    """A cell as a number, NaN where it is empty; None if it is no number."""
    if text.lower() in MISSING:
        return math.nan
    plain = _plain_number(text, comma=comma)
    if plain is not None:
        return float(plain)
    return float(text) if text.lower().lstrip("+-") in {"inf", "infinity"} else None


def whole(text: str, *, comma: bool) -> int | None:
    """A cell as a whole number, to its last digit where a float would round it; None if it is none.

    Of numbers far beyond `LARGEST` the digits are not kept.
    """
    if text.isdecimal() and len(text) < len(str(LARGEST)):
        return int(text)
    value, plain = number(text, comma=comma), _plain_number(text, comma=comma)
    if value is None or not value.is_integer() or plain is None:
        return None
    if abs(value) > 2 * LARGEST:
        return int(value)
    exact = Decimal(plain)
    return int(exact) if exact == int(exact) else None


def plain_name(name: str) -> str:
    """A column's name without what programs and people add: case, blanks, brackets."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("%", " percent ")
    return re.sub(r"[^\w.]+|_+", "_", text).strip("_")


def _text_of(cell: object) -> str:
    """A cell as its program wrote it: of a number kept in 32 bits no more digits than it has."""
    if isinstance(cell, float):
        short = np.float32(cell) if abs(cell) < _GREATEST else cell
        return str(short) if short == cell else repr(cell)
    return str(cell)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} cannot be read: {error}. Save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None
    if "\0" in text:
        raise UserError(f"{path} cannot be read: it is no text")
    return one_form(text)


def _split(
    path: Path, text: str, *, most: float = math.inf
) -> tuple[list[str], list[list[str]], list[int], str]:
    """Header, rows (at most so many), the line each begins at, and what separates cells."""
    lead = re.match(r'"?sep=(.)"?\r?\n', text)  # Excel's own word for it
    skipped = 1 if lead else 0
    body = text[lead.end() :] if lead else text
    if not body.strip():
        raise UserError(f"{path} cannot be read: it is empty")
    first = body.lstrip("\r\n").splitlines()[0]
    mark = lead[1] if lead else max(_SEPARATORS, key=lambda m: _count(first, m))
    if mark not in first and not lead and len(first.split()) > 1 and '"' not in first:
        mark = " "
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    last = skipped
    csv.field_size_limit(_WIDEST)
    try:
        reader = csv.reader(io.StringIO(body), delimiter=mark, skipinitialspace=True, strict=True)
        for row in reader:
            line, last = last + 1, reader.line_num + skipped
            cells = [cell.strip() for cell in row]
            if mark == " ":
                cells = [cell for cell in cells if cell]
            if not any(cells):
                continue
            if not header:
                header = cells
            elif len(rows) >= most:
                break
            else:
                rows.append(cells)
                lines.append(line)
    except csv.Error as error:
        raise UserError(f"{path}, line {last + 1} cannot be read: {error}") from None
    while header and not header[-1]:  # a separator at the end of every line
        header.pop()
    return header, rows, lines, mark


def _count(line: str, mark: str) -> int:
    """How many cells a line has with that separator."""
    return len(next(csv.reader([line], delimiter=mark, skipinitialspace=True), []))


def _names(
    path: Path, header: Sequence[str], known: Iterable[str], renamed: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The columns by the names that are known, and what the file calls those."""
    for name, theirs in renamed.items():
        if theirs not in header:
            raise UserError(
                f"--map {name}={theirs}: {path} has no column '{theirs}'; it has {listing(header)}"
            )
    told = {theirs: name for name, theirs in renamed.items()}
    # A column that is not the one named may not take its place.
    by_plain = {plain_name(name): name for name in known if name not in renamed}
    exact = {*by_plain.values()}
    names: list[str] = []
    written: dict[str, str] = {}
    for number_, text in enumerate(header, start=1):
        name = text if text in exact else by_plain.get(plain_name(text), text)
        name = told.get(text, f"{name} (not used)" if name in renamed else name)
        name = name or f"(column {number_})"  # of an index without a name
        if name in written:
            raise UserError(
                f"{path} has two columns '{name}'"
                + (f": '{written[name]}' and '{text}'" if written[name] != text else "")
            )
        names.append(name)
        written[name] = text
    return names, written


def _decimal_comma(
    path: Path, cells: pd.DataFrame, used: Sequence[str], lines: Sequence[int]
) -> bool:
    """Whether numbers have decimal commas.

    Raises:
        UserError: Some have commas and some have points.
    """
    seen: dict[str, str] = {}
    for name in used:
        for line, text in zip(lines, cells[name], strict=True):
            is_number = _NUMBER.fullmatch(text.removesuffix("%").strip())
            marks = re.findall(r"[.,]", text) if is_number else []
            if len(set(marks)) == 1 and len(marks) > 1:
                continue  # thousands
            if marks:
                seen.setdefault(marks[-1], f"'{text}' in line {line}")
    if len(seen) > 1:
        raise UserError(
            f"{path} has numbers with decimal points and with decimal commas: "
            f"{seen['.']}, {seen[',']}"
        )
    return "," in seen


def _plain_number(text: str, *, comma: bool) -> str | None:
    """A number as Python writes it; None if the cell is none."""
    text = text.replace("−", "-")
    if not _NUMBER.fullmatch(text):
        return None
    decimal, thousands = (",", ".") if comma else (".", ",")
    head, mark, tail = text.partition(decimal)
    digits, *groups = re.split(rf"[{thousands}'’\s]", head)
    if any(not re.match(r"\d{3}(?!\d)", group) for group in groups) or (groups and not digits):
        return None
    plain = digits + "".join(groups) + (f".{tail}" if mark else "")
    try:
        float(plain)
    except ValueError:
        return None
    return plain
