"""trackio: a database per project, or a folder of them; read with SQLite, without trackio."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from functools import partial
from pathlib import Path

from normlab.errors import UserError
from normlab.text import shown
from normlab.trackers.read.plain import flat, numbers, parsed
from normlab.trackers.read.sqlite import columns_of, databases_of, reading
from normlab.trackers.runs import COMPLETE, LeftOut, Points, Run, Runs, all_series

WHAT = "a trackio database (PROJECT.db) or folder of them"
_MARKS = {"metrics": frozenset({"run_name", "step", "metrics"})}
_CONFIGS = {"configs": frozenset({"run_name", "config"})}
_OWN = "_"
"""Keys of trackio's own begin with it: `_Username`, `_Created`, `_Group`."""

_Metrics = dict[str, Points]


def recognises(source: Path) -> bool:
    """Whether it is a database of trackio, or a folder with at least one."""
    return bool(databases_of(source, _MARKS)[0])


def read(source: Path) -> Runs:
    """The runs of all projects. trackio does not say whether a run ended: all are complete."""
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    projects, notes = databases_of(source, _MARKS)
    for path in projects:
        found, not_found = reading(path, partial(_read, shown(path.stem)))
        runs += found
        left_out += not_found
    if not runs and not left_out:
        raise UserError(f"{shown(str(source))} is of trackio and has no runs")
    return Runs(
        path=source,
        tool="trackio",
        runs=tuple(runs),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def _read(project: str, connection: sqlite3.Connection) -> tuple[list[Run], list[LeftOut]]:
    # Older versions know a run by its name alone.
    run_id = "run_id" if "run_id" in columns_of(connection, "metrics") else "run_name"
    names: dict[object, str] = {}
    metrics: dict[object, _Metrics] = defaultdict(lambda: defaultdict(Points))
    bad: dict[object, str] = {}
    for run, name, step, text in connection.execute(
        f"SELECT {run_id}, run_name, step, metrics FROM metrics ORDER BY rowid"  # noqa: S608
    ):
        names.setdefault(run, shown(str(name)))
        logged = _mapping(text)
        if type(step) is not int or logged is None:
            bad[run] = "a row of its metrics is damaged"
            continue
        of_run = metrics[run]
        for key, value in logged.items():
            of_run[key].add(step, value)
    configs = _configs(connection, names, bad)
    runs, left_out = [], []
    for run, name in names.items():
        if run in bad:
            left_out.append(LeftOut(run=name, reason=bad[run]))
            continue
        runs.append(
            Run(
                id=f"{project}/{shown(str(run))}",
                name=name,
                group=project,
                state=COMPLETE,
                params=configs.get(run, {}),
                metrics=all_series(metrics.get(run, {})),
            )
        )
    return runs, left_out


def _configs(
    connection: sqlite3.Connection, names: dict[object, str], bad: dict[object, str]
) -> dict[object, dict[str, str]]:
    """The configuration by run; a run that logged nothing else is added to `names`."""
    found: dict[object, dict[str, str]] = {}
    columns = columns_of(connection, "configs")
    if not _CONFIGS["configs"] <= columns:
        return found
    run_id = "run_id" if "run_id" in columns else "run_name"
    for run, name, text in connection.execute(
        f"SELECT {run_id}, run_name, config FROM configs ORDER BY rowid"  # noqa: S608
    ):
        names.setdefault(run, shown(str(name)))
        config = _object(text)
        if config is None:
            bad[run] = "its configuration is damaged"
            continue
        own = {key: value for key, value in config.items() if not key.startswith(_OWN)}
        if config.get("_Group") is not None:
            own.setdefault("group", config["_Group"])
        found[run] = flat(own)
    return found


def _mapping(text: object) -> dict[str, float] | None:
    data = _object(text)
    return None if data is None else numbers(data)


def _object(text: object) -> dict[str, object] | None:
    try:
        data = parsed(text) if isinstance(text, str | bytes) else None
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
