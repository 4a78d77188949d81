"""The CSV files that W&B's pages export: of a chart, or of the table of runs."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from normlab.errors import UserError
from normlab.text import shown
from normlab.trackers.read.plain import numeric
from normlab.trackers.runs import (
    COMPLETE,
    FAILED,
    KILLED,
    RUNNING,
    LeftOut,
    Points,
    Run,
    Runs,
    all_series,
    series,
)

_BETWEEN = " - "
"""Between run and metric in a chart's header."""
_BOUNDS = ("__MIN", "__MAX")
_TABLE = {"Name", "State"}
_ALSO = {"Created", "Runtime", "User", "Tags", "Notes", "Sweep", "ID", "Hostname"}
"""Of these the table of runs has at least one; none of them is a parameter."""
_STATES = {
    "finished": COMPLETE,
    "running": RUNNING,
    "pending": RUNNING,
    "failed": FAILED,
    "crashed": FAILED,
    "killed": KILLED,
}
_WIDEST = 1_000_000  # characters in a cell


def recognises(source: Path) -> bool:
    """Whether it is a CSV file with the header that W&B writes."""
    if not source.is_file():
        return False
    try:
        with _rows(source) as rows:
            header = next(rows, [])
    except UserError:
        return False
    return _is_chart(header) or _is_table(header)


def read(source: Path) -> Runs:
    """The runs of a file that was recognised.

    Of a table of runs each cell is a parameter, and each number also a metric with one point.

    Raises:
        UserError: It is not a CSV file throughout.
    """
    with _rows(source) as rows:
        header = next(rows, [])
        if _is_chart(header):
            runs, left_out = _chart(source, header, rows)
        else:
            runs, left_out = _table(source, header, rows)
    if not runs and not left_out:
        raise UserError(f"{shown(str(source))} has a header and no rows")
    return Runs(path=source, tool="wandb", runs=tuple(runs), left_out=tuple(left_out))


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    csv.field_size_limit(_WIDEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.reader(file, strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{shown(str(path))} cannot be read: {error}") from None


def _is_chart(header: list[str]) -> bool:
    """A column of steps, and for each line of the chart its value, `__MIN` and `__MAX`."""
    names = set(header[1:])
    lines = [name for name in names if not name.endswith(_BOUNDS)]
    return bool(lines) and all(
        _BETWEEN in name and {f"{name}{bound}" for bound in _BOUNDS} <= names for name in lines
    )


def _is_table(header: list[str]) -> bool:
    return set(header) >= _TABLE and bool(_ALSO & set(header))


def _chart(
    source: Path, header: list[str], rows: Iterator[list[str]]
) -> tuple[list[Run], list[LeftOut]]:
    columns = {
        at: tuple(name.rsplit(_BETWEEN, 1))
        for at, name in enumerate(header)
        if at and not name.endswith(_BOUNDS)
    }
    points: dict[str, dict[str, Points]] = {run: defaultdict(Points) for run, _ in columns.values()}
    counts = Counter(columns.values())
    bad = {
        run: "another run of the chart has its name"
        for (run, _), count in counts.items()
        if count > 1
    }
    for row in rows:
        step = _number(row[0]) if row else None
        for at, (run, metric) in columns.items():
            text = row[at] if at < len(row) else ""
            if not text.strip():
                continue
            value = _number(text)
            if step is None or not step.is_integer():
                bad.setdefault(run, f"'{shown(header[0])}' is not a whole number everywhere")
            elif value is None:
                bad.setdefault(run, "a value is no number")
            elif not metric.startswith("_"):
                points[run][metric].add(int(step), value)
    runs, left_out = [], []
    for run, of_run in points.items():
        if run in bad:
            left_out.append(LeftOut(run=shown(run), reason=bad[run]))
            continue
        # A chart has no more of a run than its name and values.
        name = shown(run)
        runs.append(
            Run(
                id=name,
                name=name,
                group=shown(source.stem),
                state=COMPLETE,
                params={},
                metrics=all_series(of_run),
            )
        )
    return runs, left_out


def _table(
    source: Path, header: list[str], rows: Iterator[list[str]]
) -> tuple[list[Run], list[LeftOut]]:
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        if not any(row):
            continue
        cells = dict(zip(header, row, strict=False))
        name = cells.get("Name") or f"(row {number})"
        state = _STATES.get(cells.get("State", "").lower())
        if len(row) != len(header):
            left_out.append(
                LeftOut(run=shown(name), reason="its row has too few or too many cells")
            )
            continue
        if state is None:
            left_out.append(LeftOut(run=shown(name), reason="its state is not one that W&B uses"))
            continue
        own = {key: text for key, text in cells.items() if key not in _TABLE | _ALSO and text}
        values = {key: _number(text) for key, text in own.items()}
        run_id = cells.get("ID") or name
        if run_id in seen:
            run_id = f"{run_id} (row {number})"
        seen.add(run_id)
        params = {shown(key): shown(text) for key, text in own.items()}
        metrics = {
            shown(key): series([(0, value)]) for key, value in values.items() if value is not None
        }
        runs.append(
            Run(
                id=shown(run_id),
                name=shown(name),
                group=shown(source.stem),
                state=state,
                params=params,
                metrics=metrics,
            )
        )
    return runs, left_out


def _number(text: str) -> float | None:
    words = text.strip()
    if (word := numeric(words)) is not None:
        return word
    try:
        value = float(words)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in words else None
