"""TensorBoard: folders of event files, by whatever program; read by the tensorboard package.

A run is a folder with event files, as for TensorBoard itself. Its parameters are those of the
hparams plugin; without it a run has only the name of its folder.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from normlab.text import shown
from normlab.trackers.read.packages import needed
from normlab.trackers.read.plain import said
from normlab.trackers.runs import (
    COMPLETE,
    FAILED,
    RUNNING,
    LeftOut,
    Points,
    Run,
    Runs,
    all_series,
)

WHAT = "a folder of TensorBoard's event files"
_IN_NAME = "tfevents"
"""TensorBoard itself takes files of a folder by it."""
_FIRST = b"brain.Event:"
"""In the first record of every event file: the version of its format."""
_FRAME = 16  # bytes of a record beside its content: length, and two checksums
_HPARAMS = "hparams"
_SCALARS = "scalars"
_STATES = {1: COMPLETE, 2: FAILED, 3: RUNNING}  # Status of hparams' api.proto
_WHEN = re.compile(r"\d{9,}\.\d+")
"""The name that torch's `add_hparams` gives the folder that it makes within a run's."""

_KERAS = ("train", "validation")
"""The folders of Keras's callback, within a run's."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the package tensorboard reads event files with."""

    records: Any
    event: Any
    array: Any
    hparams: Any


@dataclass
class _Found:
    """What the event files of one folder say.

    Attributes:
        points: By tag, in the order of logging; of one that was restarted there may be none left.
        params: None where nobody said any.
        state: None where nobody said one.
        damaged: Files with less in them than their length.
    """

    points: dict[str, Points] = field(default_factory=lambda: defaultdict(Points))
    params: dict[str, str] | None = None
    state: str | None = None
    damaged: list[str] = field(default_factory=list)


def recognises(source: Path) -> bool:
    """Whether it is an event file, or a folder with one anywhere in it."""
    if source.is_file():
        return _is_events(source)
    return any(_is_events(path) for _, paths in _folders(source) for path in paths)


def read(source: Path) -> Runs:
    """The runs of all folders beneath a source; one that was logged in part is read so far.

    A run that does not say its state, as only the hparams plugin does, is complete.

    Raises:
        UserError: The package tensorboard is not installed.
    """
    parts = _parts()
    every = [(source.parent, [source])] if source.is_file() else list(_folders(source))
    found: dict[Path, _Found] = {}
    left_out: list[LeftOut] = []
    for folder, paths in every:
        of_run = _Found()
        for path in paths:
            _read(path, parts, of_run)
        if any(points.steps for points in of_run.points.values()) or of_run.params is not None:
            found[folder] = of_run
        else:
            why = "its event files are damaged" if of_run.damaged else "it has no scalars"
            left_out.append(LeftOut(run=_name(source, folder), reason=why))
    _join_hparams(found)
    _join_keras(found)
    notes = tuple(
        f"{_name(source, folder)}: {', '.join(of_run.damaged)} is damaged or still being written: "
        "read as far as it is whole"
        for folder, of_run in found.items()
        if of_run.damaged
    )
    runs = tuple(_run(source, folder, of_run) for folder, of_run in found.items())
    return Runs(path=source, tool="tensorboard", runs=runs, left_out=tuple(left_out), notes=notes)


def _parts() -> _Parts:
    """All that any event file may need, before the first is opened: a gap is no file's damage."""
    of = partial(needed, what="TensorBoard's event files")
    return _Parts(
        records=of("tensorboard.backend.event_processing.event_file_loader").RawEventFileLoader,
        event=of("tensorboard.compat.proto.event_pb2").Event,
        array=of("tensorboard.util.tensor_util").make_ndarray,
        hparams=of("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData,
    )


def _folders(source: Path) -> Iterator[tuple[Path, list[Path]]]:
    """The folders with event files, and those in order of time; links are not followed."""
    for at, folders, names in os.walk(source):
        folders.sort()
        paths = [Path(at, name) for name in sorted(names) if _IN_NAME in name]
        paths = [path for path in paths if path.is_file() and not path.is_symlink()]
        if paths:
            yield Path(at), paths


def _is_events(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _FIRST in file.read(64)
    except OSError:
        return False


def _name(source: Path, folder: Path) -> str:
    if source.is_file() or folder == source:
        return shown(folder.resolve().name)
    return shown(folder.relative_to(source).as_posix())


def _run(source: Path, folder: Path, found: _Found) -> Run:
    name = _name(source, folder)
    return Run(
        id=name,
        name=name,
        group=shown(source.resolve().name),
        state=found.state or COMPLETE,
        params=found.params or {},
        metrics=all_series(found.points),
    )


def _join_hparams(found: dict[Path, _Found]) -> None:
    """Give a run what torch's `add_hparams` wrote into a folder within the run's."""
    for folder in [each for each in found if _WHEN.fullmatch(each.name)]:
        inner, outer = found[folder], found.get(folder.parent)
        if inner.params is None or outer is None or outer.params is not None:
            continue
        outer.params, outer.state = inner.params, inner.state
        for tag, points in inner.points.items():
            outer.points.setdefault(tag, points)
        outer.damaged += inner.damaged
        del found[folder]


def _join_keras(found: dict[Path, _Found]) -> None:
    """Make one run of the folders `train` and `validation` that Keras writes into a run's.

    Their metrics have the same names: each then begins with its folder's.
    """
    trained, validated = _KERAS
    for inside in [each for each in found if each.name == trained]:
        run = inside.parent
        if run / validated not in found:
            continue
        whole = found.setdefault(run, _Found())  # with the parameters of its hparams callback
        for name in _KERAS:
            part = found.pop(run / name)
            for tag, points in part.points.items():
                whole.points.setdefault(f"{name}/{tag}", points)
            whole.damaged += [f"{name}/{file}" for file in part.damaged]


def _read(path: Path, parts: _Parts, found: _Found) -> None:
    """Add what an event file has, as far as it is whole."""
    length = 0
    scalars: set[str] = set()
    try:
        for record in parts.records(str(path)).Load():
            event = parts.event.FromString(record)
            length += len(record) + _FRAME
            if event.HasField("session_log"):
                _restart(event, found)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == _SCALARS:
                    scalars.add(value.tag)
                if value.metadata.plugin_data.plugin_name == _HPARAMS:
                    _hparams(value.metadata.plugin_data.content, parts, found)
                    continue
                number = _number(value, parts, scalars)
                if number is not None:
                    found.points[value.tag].add(event.step, number)
    # A stranger's file: the packages that read it raise whatever they meet.
    except Exception:
        length = -1
    if length != path.stat().st_size:
        found.damaged.append(shown(path.name))


def _restart(event: Any, found: _Found) -> None:
    """Training went on from an earlier step: what was logged from there on is void."""
    if event.session_log.status != event.session_log.START:
        return
    for points in found.points.values():
        kept = [at for at, step in enumerate(points.steps) if step < event.step]
        points.steps = [points.steps[at] for at in kept]
        points.values = [points.values[at] for at in kept]


def _number(value: Any, parts: _Parts, scalars: set[str]) -> float | None:
    """The scalar of a summary: the shortest decimal that is the same number of 32 bits."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(str(np.float32(value.simple_value)))
    if kind != "tensor" or value.tag not in scalars:
        return None
    array = parts.array(value.tensor)
    if array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(str(array.reshape(-1)[0]))


def _hparams(content: bytes, parts: _Parts, found: _Found) -> None:
    """Parameters, and how the run ended, of the hparams plugin."""
    data = parts.hparams.FromString(content)
    kind = data.WhichOneof("data")
    if kind == "session_start_info":
        params = dict(found.params or {})
        for key, value in data.session_start_info.hparams.items():
            params[shown(key)] = _said(value)
        found.params = params
    elif kind == "session_end_info":
        found.state = _STATES.get(data.session_end_info.status, found.state)


def _said(value: Any) -> str:
    kind = value.WhichOneof("kind")
    plain: object = getattr(value, kind) if kind else None
    if isinstance(plain, float) and plain.is_integer() and abs(plain) < 1 << 53:
        plain = int(plain)  # protobuf has one kind of number: a seed is a whole one
    return said(plain if isinstance(plain, str | bool | int | float) else None)
