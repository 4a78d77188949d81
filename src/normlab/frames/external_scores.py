"""Scores in a table of trials run elsewhere: metrics in their range, and how each trial ended."""

from __future__ import annotations

from typing import Any

import numpy as np

from normlab.errors import UserError, nearest, unknown
from normlab.frames.external_table import MISSING, PERCENT, Table, plain_name
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.records import TrialState

STATES: tuple[TrialState, ...] = ("complete", "diverged", "invalid", "failed")
"""How a trial may have ended."""
_STATE_NAMES = ("status", "outcome", "result")
_NO_CHANCE = 2.0  # percent: more classes than 50 can have an accuracy below 1 %


def metrics_of(read: Table) -> dict[str, pd.Series[float]]:
    """Every metric as numbers, fractions of 1 where it is one; one at least has values."""
    found = {}
    for metric, spec in METRICS.items():
        columns = []
        for column, most in ((metric, 1.0), (metric + PERCENT, 100.0)):
            if column in read.cells:
                values = read.numbers(column)
                _check_range(read, column, values, most if spec.points else None)
                columns.append(values / most)
        if len(columns) == 2:
            _check_agree(read, metric, *columns)
        whole = columns[0] if columns else pd.Series(float("nan"), read.cells.index)
        found[metric] = whole.fillna(columns[-1]) if columns else whole
    if all(values.isna().all() for values in found.values()):
        columns_ = [n for n in read.cells if n not in {"arm", "seed", "epoch", "state"}]
        near = {str(name): nearest(str(name), METRICS) for name in columns_}
        hints = "".join(
            f" Is '{name}' meant as '{metric}'?"
            for name, metric in near.items()
            if metric and name not in (metric, metric + PERCENT)
        )
        raise UserError(
            f"{read.path} has no metric.{hints} Allowed: {', '.join(METRICS)}, or with {PERCENT}"
        )
    return found


def _check_range(read: Table, column: str, values: pd.Series[float], most: float | None) -> None:
    """A metric's numbers are finite, of its range, and no fractions where they are percents."""
    said = read.said(column)
    if len(wrong := values[np.isinf(values)]):
        raise UserError(
            f"{read.where(wrong.index[0])}: {said} is {wrong.iloc[0]:g}: leave "
            "it empty, with 'diverged' in a column 'state'"
        )
    spec = METRICS[column.removesuffix(PERCENT)]
    if not spec.signed and len(wrong := values[values < 0]):
        where = read.where(wrong.index[0])
        raise UserError(f"{where}: {said} is {wrong.iloc[0]:g}: at least 0 is needed")
    if most is None:
        return
    metric = column.removesuffix(PERCENT)
    if len(wrong := values[values.abs() > most]):
        hint = "" if most > 1 else f": fractions of 1 are needed, or the column {metric}{PERCENT}"
        where = read.where(wrong.index[0])
        raise UserError(f"{where}: {said} is {wrong.iloc[0]:g}, above {most:g}{hint}")
    small = values[(values > 0) & (values <= 1)]
    if most > 1 and metric.endswith(("accuracy", "f1")) and len(small) and _too_small(read):
        where = read.where(small.index[0])
        raise UserError(
            f"{where}: {said} is {small.iloc[0]:g}, less than 1 %. A fraction of 1 belongs in the "
            f"column {metric}, and so does a true {small.iloc[0]:g} %: {small.iloc[0] / 100:g}"
        )


def _too_small(read: Table) -> bool:
    """Whether 1 % is less than guessing gives; as far as the file tells, it is."""
    if "classes" not in read.cells:
        return True
    classes = read.numbers("classes").max()
    return not classes * _NO_CHANCE > 100


def _check_agree(
    read: Table, metric: str, fractions: pd.Series[float], percents: pd.Series[float]
) -> None:
    """Two columns of one metric say the same, as far as their digits go."""
    digits = min(read.decimals(metric) or 0, (read.decimals(metric + PERCENT) or 0) + 2)
    apart = (fractions - percents).abs() > 1.01 * 10.0**-digits
    if apart.any():
        row = apart[apart].index[0]
        raise UserError(
            f"{read.where(row)}: {read.said(metric)} is {fractions[row]:g} and "
            f"{read.said(metric + PERCENT)} is {100 * percents[row]:g}: they contradict each "
            "other. Leave one of them out"
        )


def states_of(read: Table) -> pd.Series[Any]:
    """How every trial ended, NaN where nothing is said."""
    name = next((n for n in ("state", *_others_of_states(read)) if n in read.cells), None)
    found: list[Any] = []
    for at, text in enumerate(read.cells[name] if name else [""] * len(read.cells)):
        state = str(text).lower()
        if state not in STATES and state not in MISSING:
            raise UserError(f"{read.where(at)}: {unknown('state', str(text), STATES)}")
        found.append(state if state in STATES else float("nan"))
    return pd.Series(found, read.cells.index, dtype=object)


def _others_of_states(read: Table) -> list[str]:
    """Columns of another name whose cells are states and nothing else, one at least."""
    return [
        str(name)
        for name in read.cells
        if plain_name(str(name)) in _STATE_NAMES
        and (said := set(read.cells[name].str.lower()) - MISSING)
        and said <= set(STATES)
    ]
