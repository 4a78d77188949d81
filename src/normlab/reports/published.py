"""What a source printed beside ours, as text: for terminals, pages and papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.reports.typeset import Table
from normlab.stats.contrasts import FEWEST
from normlab.wording import counted, is_missing

REHEARSAL = (
    "the quick variant (fewer seeds or arms, less data, few epochs), whose numbers say nothing "
    "about the source's: no difference is taken"
)
"""What is said above a quick variant's numbers."""
_NONE = "–"


@dataclass(frozen=True)
class Measure:
    """The numbers of one measure.

    Attributes:
        title: What is measured, in which unit and at which epoch.
        rows: Arm, then a text for each of the other columns.
    """

    title: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class BesideText:
    """Published numbers beside ours as text: `columns`, of which the first is the arm."""

    columns: Sequence[str]
    measures: Sequence[Measure]

    def typeset(self) -> Table:
        """One table with a first column for the measure, which stands in the first of its rows."""
        first, *others = self.columns
        rows = [
            ["" if index else measure.title, *row]
            for measure in self.measures
            for index, row in enumerate(measure.rows)
        ]
        return Table([("Measure", "l"), (first, "l"), *((name, "r") for name in others)], rows)


def beside_text(table: pd.DataFrame, *, rehearsal: bool) -> BesideText:
    """A table of `normlab.frames.published_table` as text.

    Args:
        table: It.
        rehearsal: Whether the trials are a quick variant's: the head says so in place of "Ours".
    """
    ours = "Rehearsal" if rehearsal else "Ours"
    judged = next((at for at in table["judged_at"] if at), None)
    columns = ["Arm", "Published", ours, "95 % interval", "Seeds", "Difference"]
    if judged:
        columns.append(f"{ours}, {judged}")
    groups: dict[str, list[list[str]]] = {}
    for row in table.to_dict("records"):
        title = f"{row['measure']} ({row['at']})" if row["at"] else str(row["measure"])
        cells = _cells(row)
        groups.setdefault(title, []).append(cells if judged else cells[:-1])
    return BesideText(columns, [Measure(title, rows) for title, rows in groups.items()])


def _cells(row: Mapping[Any, Any]) -> list[str]:
    digits = _digits(str(row["metric"]))
    return [
        f"{row['arm']} · {row['run']}" if row["run"] else str(row["arm"]),
        _published(row, digits),
        _number(row["ours"], digits),
        _interval(row, digits),
        str(row["seeds"]) if row["seeds"] else _NONE,
        _number(row["difference"], digits, sign="+"),
        _number(row["judged"], digits),
    ]


def _published(row: Mapping[Any, Any], digits: int) -> str:
    """As printed, with its own digits; of a converted number what was printed in parentheses."""
    value = row["published"]
    if isinstance(value, str):
        return value
    own = len(f"{value:g}".partition(".")[2])
    text = f"{value:,.{max(digits, own)}f}"
    return text if is_missing(row["printed"]) else f"{text} ({row['printed']:.4g})"


def _interval(row: Mapping[Any, Any], digits: int) -> str:
    if is_missing(row["low"]):
        few = 0 < row["seeds"] < FEWEST and not is_missing(row["ours"])
        return f"{counted(row['seeds'], 'seed')}: no interval" if few else _NONE
    return f"{row['low']:,.{digits}f} to {row['high']:,.{digits}f}"


def _number(value: object, digits: int, sign: str = "") -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return _NONE
    return f"{value:{sign},.{digits}f}"


def _digits(metric: str) -> int:
    """Behind the point: hundredths of a percent, ten-thousandths of a loss, tenths of a second."""
    if metric in METRICS and metric != "seconds":
        return 2 if METRICS[metric].points else 4
    return 1 if "seconds" in metric else 0
