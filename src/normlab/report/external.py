"""Trials run elsewhere, from a CSV file: a column per factor, a row per trial or per epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from normlab.errors import UserError, listing, nearest, unknown
from normlab.metrics import METRICS
from normlab.records import TrialState
from normlab.report.epoch_rows import FACTS, OF_ARMS, last_rows
from normlab.report.frames import Frames
from normlab.text import from_cell

_PERCENT = "_percent"
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
_STATES: tuple[TrialState, ...] = ("complete", "diverged", "invalid", "failed")


def frames_from_csv(path: Path, plan: dict[str, Any], *, test_images: int | None = None) -> Frames:
    """A study's frames from a table of finished trials.

    Columns: one for each factor (or `arm`, a label); `seed` (or rows are numbered within their
    arm); any metric of `normlab.metrics` by that name, accuracies as fractions of 1 or, in a
    column `<metric>_percent`, in percent; `state` where not all are complete; for claims of time
    `seconds_to_<target>` or `examples_to_<target>`, empty where the target was never reached, and
    `seconds` or `examples` of the whole training. Other columns are left alone.

    With the columns `seed` and `epoch` a row is an epoch of a trial, as `normlab report --csv`
    writes it; see `normlab.report.epoch_rows`. Then claims may be about any epoch, and times are
    those at which the accuracies reached their targets: claims of time need `train_accuracy` or
    `validation_accuracy`, and `seconds` or `train_images`.

    Args:
        path: The file.
        plan: The study's plan as recorded; see `normlab.study.plan.Plan.as_record`.
        test_images: How many images an accuracy is a mean over; sets its least spread.

    Raises:
        UserError: The file cannot be read, a factor has no column, or a row fits no arm.
    """
    table = _read(path, plan)
    times = [_target_column(claim) for claim in plan["claims"] if claim.get("clock")]
    by_epoch = {"seed", "epoch"} <= set(table) and not set(times) & set(table)
    arms = {arm["label"]: arm["levels"] for arm in plan["arms"]}
    table["arm"] = [_arm(row, arms, path, n) for n, row in enumerate(_rows(table), start=2)]
    if "seed" not in table:
        table["seed"] = table.groupby("arm").cumcount()
    keys = ["seed", "epoch"] if by_epoch else ["seed"]
    for column, least in zip(keys, (0, 1), strict=False):
        table[column] = _whole_numbers(table[column], least, path)
    _check_claims_of_time(table, plan, path, by_epoch=by_epoch)
    _check_metrics(table, path)
    _check_unique(table, ["arm", *keys], path)
    table["id"] = table["arm"].astype(str) + "/" + table["seed"].astype(str)
    ended = last_rows(table) if by_epoch else table.assign(epoch=1)
    ended["state"] = ended["state"].fillna("complete") if "state" in ended else "complete"
    for index, state in ended["state"].items():
        if state not in _STATES:
            line = int(str(index)) + 2
            raise UserError(f"{path}, line {line}: {unknown('state', str(state), _STATES)}")
    for column in (*FACTS, *OF_ARMS):
        known = column in ended
        ended[column] = pd.to_numeric(ended[column], errors="coerce") if known else float("nan")
    if test_images is not None:
        ended["test_images"] = test_images
    seeds = sorted(set(ended["seed"].tolist()))
    every = pd.DataFrame([{"arm": label, "seed": seed} for label in arms for seed in seeds])
    trials = every.merge(ended, on=["arm", "seed"], how="left")
    trials["state"] = trials["state"].fillna("pending")
    trials["id"] = trials["arm"] + "/" + trials["seed"].astype(str)
    recorded = {**plan, "seeds": seeds, "arms": [_with_facts(arm, ended) for arm in plan["arms"]]}
    if by_epoch:
        return Frames(recorded, trials, table)
    # Only the end is known: it stands for the last epoch, and for the first.
    epochs = trials[trials["state"] != "pending"]
    return Frames(recorded, trials, epochs, times=_times(trials, plan))


def _read(path: Path, plan: dict[str, Any]) -> pd.DataFrame:
    """The file as it is: of labels and levels only an empty cell is missing, `null` is a word."""
    words = {"arm", *(key for arm in plan["arms"] for key in arm["levels"])}
    try:
        columns = pd.read_csv(path, nrows=0).columns
        missing = {name: [""] if name in words else _MISSING for name in columns}
        table = pd.read_csv(path, dtype={"arm": str}, keep_default_na=False, na_values=missing)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    for name in words & set(table):  # as `normlab report --csv` writes them
        table[name] = table[name].map(from_cell)
    return table


def _with_facts(arm: dict[str, Any], ended: pd.DataFrame) -> dict[str, Any]:
    """An arm of the plan with what the file tells of its model and data."""
    rows = ended[ended["arm"] == arm["label"]]
    found = {name: rows[name].dropna() for name in OF_ARMS}
    return {**arm, **{name: int(values.iloc[0]) for name, values in found.items() if len(values)}}


def _check_metrics(table: pd.DataFrame, path: Path) -> None:
    """Every metric has a column of numbers, fractions of 1 where it is one, and one has values."""
    columns = [name for name in table.columns if name not in {"arm", "seed", "epoch", "state"}]
    for metric in METRICS:
        percent = metric + _PERCENT in table
        column, most = (metric + _PERCENT, 100) if percent else (metric, 1)
        read = (
            _numbers(table[column], path)
            if column in table
            else pd.Series(float("nan"), table.index)
        )
        if METRICS[metric].points and (read.abs() > most).any():
            line, value = _first(read, read.abs() > most)
            hint = (
                "" if percent else f": fractions of 1 are needed, or the column {metric}{_PERCENT}"
            )
            raise UserError(f"{path}, line {line}: {column} is {value:g}, above {most}{hint}")
        if metric != "gap" and (read < 0).any():
            line, value = _first(read, read < 0)
            raise UserError(f"{path}, line {line}: {column} is {value:g}: at least 0 is needed")
        table[metric] = read / most
    if table[list(METRICS)].isna().all(axis=None):
        near = {str(column): nearest(str(column), METRICS) for column in columns}
        hints = "".join(f" Is '{c}' meant as '{name}'?" for c, name in near.items() if name)
        raise UserError(
            f"{path} has no metric.{hints} Allowed: {', '.join(METRICS)}, or with {_PERCENT}"
        )


def _first(column: pd.Series[Any], wrong: pd.Series[bool]) -> tuple[int, float]:
    """Line of the file and value of the first cell that is wrong."""
    row = column[wrong].index[0]
    return int(row) + 2, float(column[row])


def _check_unique(table: pd.DataFrame, keys: list[str], path: Path) -> None:
    if doubled := table[table.duplicated(keys)].to_dict("records"):
        arm, *rest = (doubled[0][key] for key in keys)
        which = ", ".join(f"{key} {value}" for key, value in zip(keys[1:], rest, strict=True))
        raise UserError(f"{path}: {arm}, {which} is there twice")


def _numbers(column: pd.Series[Any], path: Path) -> pd.Series[Any]:
    """A column as numbers, empty cells as NaN."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        line, value = int(wrong.index[0]) + 2, wrong.iloc[0]
        raise UserError(f"{path}, line {line}: {column.name} is {value!r}: a number is needed")
    return numbers


def _whole_numbers(column: pd.Series[Any], least: int, path: Path) -> pd.Series[Any]:
    numbers = _numbers(column, path)
    if numbers.isna().any():
        raise UserError(f"{path}: a row has no {column.name}")
    wrong = numbers[(numbers % 1 != 0) | (numbers < least)]
    if len(wrong):
        line, value = int(wrong.index[0]) + 2, wrong.iloc[0]
        allowed = f"a whole number from {least} on is needed"
        raise UserError(f"{path}, line {line}: {column.name} is {value:g}: {allowed}")
    return numbers.astype(int)


def _check_claims_of_time(
    table: pd.DataFrame, plan: dict[str, Any], path: Path, *, by_epoch: bool
) -> None:
    """The columns that claims of time need are there."""
    for claim in plan["claims"]:
        if not claim.get("clock"):
            continue
        clock = {"seconds": "seconds", "examples": "train_images" if by_epoch else "examples"}
        first = f"{claim['split']}_accuracy" if by_epoch else _target_column(claim)
        for column in (first, clock[claim["clock"]]):
            if column not in table:
                raise UserError(f"{path}: claim {claim['name']} needs the column '{column}'")
            table[column] = _numbers(table[column], path)


def _target_column(claim: Mapping[str, Any]) -> str:
    return f"{claim['clock']}_to_{claim['target']:g}"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _arm(row: dict[str, Any], arms: Mapping[str, Any], path: Path, line: int) -> str:
    """The label of the arm a row is of."""
    where = f"{path}, line {line}"
    if "arm" in row:
        if row["arm"] not in arms:
            raise UserError(f"{where}: {unknown('arm', str(row['arm']), arms)}")
        return str(row["arm"])
    for label, levels in arms.items():
        absent = [key for key in levels if key not in row]
        if absent:
            raise UserError(f"{path} has no column '{absent[0]}' and no column 'arm'")
        if all(_same(level, row[key]) for key, level in levels.items()):
            return label
    factors = {key: row[key] for levels in arms.values() for key in levels}
    raise UserError(f"{where}: {factors} fits no arm; the arms are: {listing(arms)}")


def _same(level: Any, cell: Any) -> bool:
    """Whether a cell of the file says a level: its text, its kind, or the same number."""
    if isinstance(level, Mapping):
        texts = {str(level.get("kind")), json.dumps(level), json.dumps(level, sort_keys=True)}
        return str(cell) in texts
    if isinstance(level, int | float) and isinstance(cell, int | float):
        return float(level) == float(cell)
    return str(level) == str(cell)


def _times(trials: pd.DataFrame, plan: dict[str, Any]) -> pd.DataFrame:
    """Times to the targets that the claims name."""
    parts = {}
    for claim in plan["claims"]:
        if not claim.get("clock"):
            continue
        whole, times = trials[claim["clock"]], trials[_target_column(claim)]
        part = trials[["arm", "seed", "id"]].assign(
            split=claim["split"],
            target=claim["target"],
            reached=times.notna(),
            epochs=1,
            **{claim["clock"]: times.where(times.notna(), whole)},
        )
        key = (claim["clock"], claim["target"], claim["split"])
        parts[key] = part[trials["state"] != "pending"]
    columns = ["arm", "seed", "id", "split", "target", "reached", "epochs", "examples", "seconds"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts.values(), ignore_index=True)
