"""MLflow's folder `mlruns`: a folder per experiment and run, a file per parameter and metric."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from normlab.errors import UserError
from normlab.text import shown
from normlab.trackers.runs import (
    COMPLETE,
    FAILED,
    KILLED,
    RUNNING,
    LeftOut,
    Run,
    Runs,
    Series,
    series,
)

_META = "meta.yaml"
_STATES = {1: RUNNING, 2: RUNNING, 3: COMPLETE, 4: FAILED, 5: KILLED}
_STATES_BY_NAME = {
    "RUNNING": RUNNING,
    "SCHEDULED": RUNNING,
    "FINISHED": COMPLETE,
    "FAILED": FAILED,
    "KILLED": KILLED,
}
_LARGEST = {"meta": 1 << 20, "text": 1 << 20, "metric": 1 << 28}  # bytes
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _BadError(Exception):
    """A file of a run cannot be read; the words are the reason."""


def root(source: Path) -> Path | None:
    """The folder with the experiments: this one, or `mlruns` in it; None where there is none."""
    if not source.is_dir():
        return None
    for folder in (source, source / "mlruns"):
        if folder.is_dir() and any(_experiments(folder)):
            return folder
    return None


def read(source: Path) -> Runs:
    """The runs of all experiments; deleted ones are left out."""
    folder = root(source)
    assert folder is not None  # recognised
    found: list[tuple[int, Run]] = []
    left_out: list[LeftOut] = []
    for experiment in _experiments(folder):
        try:
            meta = _meta(experiment)
        except _BadError as error:
            left_out.append(LeftOut(run=shown(experiment.name), reason=f"its experiment: {error}"))
            continue
        group = shown(str(meta.get("name", experiment.name)))
        deleted = meta.get("lifecycle_stage") == "deleted"
        for run in _folders(experiment):
            if not (run / _META).is_file():
                continue  # what was logged of models and traces
            if deleted:
                left_out.append(LeftOut(run=_name(run), reason="its experiment was deleted"))
                continue
            try:
                found.append(_run(run, group))
            except _BadError as error:
                left_out.append(LeftOut(run=_name(run), reason=str(error)))
    found.sort(key=lambda each: each[0])
    if not found and not left_out:
        raise UserError(f"{shown(str(source))} has experiments of MLflow and no runs")
    return Runs(
        path=source,
        tool="mlflow",
        runs=tuple(run for _, run in found),
        left_out=tuple(left_out),
    )


def _experiments(folder: Path) -> Iterator[Path]:
    for each in _folders(folder):
        try:
            meta = _meta(each)
        except _BadError:
            continue
        if "experiment_id" in meta and "run_id" not in meta and "run_uuid" not in meta:
            yield each


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder but links and hidden ones (`.trash`), by name."""
    with os.scandir(folder) as entries:
        return sorted(
            Path(each.path)
            for each in entries
            if not each.name.startswith(".") and each.is_dir(follow_symlinks=False)
        )


def _meta(folder: Path) -> dict[str, object]:
    text = _text(folder / _META, "meta")
    try:
        meta = yaml.load(text, Loader=_LOADER)  # noqa: S506 (a safe one, in C where there is one)
    except (yaml.YAMLError, RecursionError, ValueError):
        meta = None
    if not isinstance(meta, dict):
        raise _BadError(f"its {_META} is damaged")
    return {str(key): value for key, value in meta.items()}


def _run(folder: Path, group: str) -> tuple[int, Run]:
    meta = _meta(folder)
    if meta.get("lifecycle_stage") == "deleted":
        raise _BadError("it was deleted")
    tags = {key: _text(path, "text") for key, path in _files(folder / "tags")}
    params = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    params |= {key: _text(path, "text") for key, path in _files(folder / "params")}
    begun = meta.get("start_time")
    status = meta.get("status")
    state = _STATES.get(status) if isinstance(status, int) else _STATES_BY_NAME.get(str(status))
    return begun if isinstance(begun, int) else 0, Run(
        id=shown(str(meta.get("run_id") or meta.get("run_uuid") or folder.name)),
        name=shown(str(meta.get("run_name") or tags.get("mlflow.runName") or folder.name)),
        group=group,
        state=state or FAILED,
        params={shown(key): shown(value) for key, value in params.items()},
        metrics={shown(key): _metric(path) for key, path in _files(folder / "metrics")},
        parent=shown(tags.get("mlflow.parentRunId", "")),
    )


def _name(folder: Path) -> str:
    try:
        return shown(str(_meta(folder).get("run_name") or folder.name))
    except _BadError:
        return shown(folder.name)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files beneath a folder by key: a key with slashes is a path. Links are not followed."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(at, name)
            if not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def _metric(path: Path) -> Series:
    """A line per point: the time in milliseconds, the value, the step (0 in the oldest files)."""
    points = []
    for line in _text(path, "metric").splitlines():
        if not line.strip():
            continue
        words = line.split()
        try:
            time, value = int(words[0]), float(words[1])
            step = int(words[2]) if len(words) > 2 else 0
        except (ValueError, IndexError):
            raise _BadError("a metric has a line that is no number") from None
        points.append((time, step, value))
    points.sort(key=lambda point: point[0])
    return series((step, value) for _, step, value in points)


def _text(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST[kind] + 1)
    except OSError as error:
        raise _BadError(f"a file cannot be read ({error.strerror})") from None
    if len(raw) > _LARGEST[kind]:
        raise _BadError("a file is far too long")
    return raw.decode("utf-8", errors="replace")
