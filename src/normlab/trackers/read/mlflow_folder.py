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
    Points,
    Run,
    Runs,
    all_series,
)

_META = "meta.yaml"
STATES = {
    "RUNNING": RUNNING,
    "SCHEDULED": RUNNING,
    "FINISHED": COMPLETE,
    "FAILED": FAILED,
    "KILLED": KILLED,
}
"""Of a run by MLflow's words for them."""
_BY_NUMBER = dict(enumerate(STATES, start=1))
_LARGEST = {"meta": 1 << 20, "text": 1 << 20, "metric": 1 << 28}  # bytes
# MLflow writes YAML 1.1, in which the plain 1e-3 and 08 are words: our own `parse_yaml` reads 1.2,
# and is nine times slower.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_Meta = dict[str, str | int | float]


class _BadError(Exception):
    """A file of a run cannot be read; the words are the reason."""


def root(source: Path) -> Path | None:
    """The folder with the experiments: this one, or `mlruns` in it; None where there is none."""
    if not source.is_dir():
        return None
    for folder in (source, source / "mlruns"):
        if folder.is_dir() and any(map(_is_experiment, _folders(folder))):
            return folder
    return None


def read(source: Path) -> Runs:
    """The runs of all experiments; deleted ones are left out."""
    folder = root(source)
    assert folder is not None  # recognised
    found: list[tuple[int, Run]] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for experiment in _folders(folder):
        try:  # others are what was logged of models and traces
            runs = [run for run in _folders(experiment) if (run / _META).is_file()]
        except OSError as error:
            notes.append(f"{shown(experiment.name)} cannot be read: {error.strerror or error}")
            continue
        try:
            meta = _meta(experiment)
        except _BadError as error:
            reason = f"its experiment: {error}"
            left_out += [LeftOut(run=_name(run), reason=reason) for run in runs]
            continue
        if not _of_experiment(meta):
            continue
        group = shown(str(meta.get("name", experiment.name)))
        deleted = meta.get("lifecycle_stage") == "deleted"
        for run in runs:
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
        notes=tuple(notes),
    )


def _is_experiment(folder: Path) -> bool:
    try:
        return _of_experiment(_meta(folder))
    except _BadError:
        return False


def _of_experiment(meta: _Meta) -> bool:
    return "experiment_id" in meta and "run_id" not in meta and "run_uuid" not in meta


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder but links and hidden ones (`.trash`), by name."""
    with os.scandir(folder) as entries:
        return sorted(
            Path(each.path)
            for each in entries
            if not each.name.startswith(".") and each.is_dir(follow_symlinks=False)
        )


def _meta(folder: Path) -> _Meta:
    """The texts and numbers of a meta.yaml; lists, which are never asked for, are not there."""
    text = _text(folder / _META, "meta")
    try:
        # Ten aliases of ten aliases of ... fill a memory, and MLflow writes none.
        aliased = "&" in text and any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)
        )
        meta = None if aliased else yaml.load(text, Loader=_LOADER)  # noqa: S506 (a safe one)
    # A stranger's file: of a tag that does not fit, PyYAML raises whatever it meets.
    except Exception:
        meta = None
    if not isinstance(meta, dict):
        raise _BadError(f"its {_META} is damaged")
    return {str(k): v for k, v in meta.items() if isinstance(v, str | int | float)}


def _run(folder: Path, group: str) -> tuple[int, Run]:
    meta = _meta(folder)
    if meta.get("lifecycle_stage") == "deleted":
        raise _BadError("it was deleted")
    tags = {key: _text(path, "text") for key, path in _files(folder / "tags")}
    params = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    params |= {key: _text(path, "text") for key, path in _files(folder / "params")}
    begun = meta.get("start_time")
    status = meta.get("status")
    word = _BY_NUMBER.get(status) if isinstance(status, int) else str(status)
    return begun if isinstance(begun, int) else 0, Run(
        id=shown(str(meta.get("run_id") or meta.get("run_uuid") or folder.name)),
        name=shown(str(meta.get("run_name") or tags.get("mlflow.runName") or folder.name)),
        group=group,
        state=STATES.get(word or "", FAILED),
        params={shown(key): shown(value) for key, value in params.items()},
        metrics=all_series({key: _metric(path) for key, path in _files(folder / "metrics")}),
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


def _metric(path: Path) -> Points:
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
    found = Points()
    for _, step, value in points:
        found.add(step, value)
    return found


def _text(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST[kind] + 1)
    except OSError as error:
        raise _BadError(f"a file cannot be read ({error.strerror})") from None
    if len(raw) > _LARGEST[kind]:
        raise _BadError("a file is far too long")
    return raw.decode("utf-8", errors="replace")
