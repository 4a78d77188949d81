"""MLflow: a database of its tracking server, or the folder `mlruns` of older versions.

Read with SQLite and as text: no MLflow is needed, and none of any version is started.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from normlab.errors import UserError
from normlab.text import shown
from normlab.trackers.read import mlflow_folder
from normlab.trackers.read.sqlite import databases_of, lacking, reading
from normlab.trackers.runs import FAILED, LeftOut, Points, Run, Runs, all_series

WHAT = "an MLflow database (mlflow.db) or folder mlruns"
_MARKS = {"experiments": frozenset({"experiment_id"}), "runs": frozenset({"run_uuid"})}
_NEEDED = {
    "experiments": frozenset({"experiment_id", "name", "lifecycle_stage"}),
    "runs": frozenset(
        {"run_uuid", "name", "status", "start_time", "lifecycle_stage", "experiment_id"}
    ),
    "params": frozenset({"key", "value", "run_uuid"}),
    "tags": frozenset({"key", "value", "run_uuid"}),
    "metrics": frozenset({"key", "value", "timestamp", "run_uuid", "step", "is_nan"}),
}
_LARGEST = sys.float_info.max
"""What MLflow stores in place of an infinite number."""

_Metrics = dict[str, Points]


def recognises(source: Path) -> bool:
    """Whether it is a database of MLflow, or a folder with one or with experiments."""
    return bool(databases_of(source, _MARKS)[0]) or mlflow_folder.root(source) is not None


def read(source: Path) -> Runs:
    """The runs of all experiments; deleted ones are left out.

    Of several databases in a folder the first is read: one server's are in one database.
    """
    databases, notes = databases_of(source, _MARKS)
    if not databases:
        found = mlflow_folder.read(source)
        return replace(found, notes=(*notes, *found.notes))
    database, *others = databases
    runs, left_out = reading(database, lambda connection: _read(database, connection))
    if (folder := mlflow_folder.root(source)) is not None:
        others.append(folder)
    notes += [
        f"{shown(other.name)}: it has runs of MLflow as well, and was not read beside "
        f"{shown(database.name)}: name it to read it"
        for other in others
    ]
    return Runs(path=source, tool="mlflow", runs=runs, left_out=left_out, notes=tuple(notes))


def _read(
    path: Path, connection: sqlite3.Connection
) -> tuple[tuple[Run, ...], tuple[LeftOut, ...]]:
    lacks = lacking(connection, _NEEDED)
    if lacks:
        raise UserError(
            f"{shown(str(path))} cannot be read: it has no {' and no '.join(lacks)}, because an "
            "older MLflow wrote it: copy it and run `mlflow db upgrade sqlite:///COPY`"
        )
    tags = _texts(connection, "tags")
    params = _texts(connection, "params")
    metrics, bad = _metrics(connection)
    runs, left_out = [], []
    for run_id, name, status, stage, experiment, experiment_stage in connection.execute(
        "SELECT r.run_uuid, r.name, r.status, r.lifecycle_stage, e.name, e.lifecycle_stage "
        "FROM runs r LEFT JOIN experiments e ON e.experiment_id = r.experiment_id "
        "ORDER BY r.start_time, r.rowid"
    ):
        own = tags.get(run_id, {})
        called = shown(str(name or own.get("mlflow.runName") or run_id))
        reason = (
            "it was deleted"
            if stage == "deleted"
            else "its experiment was deleted"
            if experiment_stage == "deleted"
            else bad.get(run_id)
        )
        if reason:
            left_out.append(LeftOut(run=called, reason=reason))
            continue
        ours = {key: value for key, value in own.items() if not key.startswith("mlflow.")}
        runs.append(
            Run(
                id=shown(str(run_id)),
                name=called,
                group=shown(str(experiment or "")),
                state=mlflow_folder.STATES.get(status, FAILED),
                params=ours | params.get(run_id, {}),
                metrics=all_series(metrics.get(run_id, {})),
            )
        )
    return tuple(runs), tuple(left_out)


def _texts(connection: sqlite3.Connection, table: str) -> dict[object, dict[str, str]]:
    """Parameters or tags by run."""
    found: dict[object, dict[str, str]] = {}
    for run_id, key, value in connection.execute(
        f"SELECT run_uuid, key, value FROM {table}"  # noqa: S608 (one of MLflow's tables)
    ):
        found.setdefault(run_id, {})[shown(str(key))] = "" if value is None else shown(str(value))
    return found


def _metrics(
    connection: sqlite3.Connection,
) -> tuple[dict[object, _Metrics], dict[object, str]]:
    """Steps and values by run and metric in the order of logging; why a run has none of use."""
    found: dict[object, _Metrics] = defaultdict(lambda: defaultdict(Points))
    bad: dict[object, str] = {}
    # The order of the table's primary key: nothing is sorted. Of one step it is that of the time.
    for run_id, key, step, value, is_nan in connection.execute(
        "SELECT run_uuid, key, step, value, is_nan FROM metrics "
        "ORDER BY key, timestamp, step, run_uuid, value"
    ):
        if type(step) is not int or not isinstance(value, float | int) or type(key) is not str:
            bad[run_id] = "a metric is damaged: its step or value is no number"
            continue
        number = math.nan if is_nan else float(value)
        if abs(number) >= _LARGEST:
            number = math.copysign(math.inf, number)
        found[run_id][key].add(step, number)
    return found, bad
