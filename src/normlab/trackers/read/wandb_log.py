"""The logs of W&B's library, `wandb/*run-*/run-*.wandb`: of offline runs, and of others as well.

A log is a header of 7 bytes and blocks as LevelDB's; each record is one message of the package
wandb's own protocol, which parses it.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normlab.text import shown
from normlab.trackers.read.packages import needed
from normlab.trackers.read.plain import flat, numbers, parsed
from normlab.trackers.runs import (
    COMPLETE,
    FAILED,
    RUNNING,
    LeftOut,
    Points,
    Run,
    Runs,
    all_series,
    series,
)

_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK = 32 * 1024  # bytes
_PIECE = struct.Struct("<IHB")
"""Of each piece of a record: its checksum, its length, and which piece it is."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_OWN = "_"
"""Keys of W&B's own begin with it: `_step`, `_runtime`, `_wandb`."""


class DamagedError(Exception):
    """A log ends within a record, or has bytes that are none."""


@dataclass
class _Found:
    """What the logs of one run say.

    Attributes:
        points: By metric, in the order of logging.
        summary: The values of the summary as JSON by key: each step writes it anew, and only the
            last is ever asked for.
        damaged: Names of logs that were not read to their end.
    """

    id: str = ""
    name: str = ""
    project: str = ""
    begun: float = 0.0
    group: str = ""
    job: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=lambda: defaultdict(Points))
    summary: dict[str, str] = field(default_factory=dict)
    step: int = -1
    damaged: list[str] = field(default_factory=list)


def logs(source: Path) -> list[Path]:
    """The logs of a source: itself, those of a run's folder, of a folder `wandb`, or around one.

    Links, as `latest-run` is one, are not followed.
    """
    if source.is_file():
        return [source] if _is_log(source) else []
    for folder in (source, source / "wandb"):
        if folder.is_dir():
            found = [
                path
                for pattern in ("*.wandb", "*run-*/*.wandb")
                for path in sorted(folder.glob(pattern))
                if not path.is_symlink() and not path.parent.is_symlink() and _is_log(path)
            ]
            if found:
                return found
    return []


def read(source: Path, paths: Sequence[Path]) -> Runs:
    """The runs of a source by its `logs`; those of one id, which were resumed, are one run.

    A run without the record of its end is still running, or was killed: nothing tells which.

    Raises:
        UserError: The package wandb is not installed.
    """
    record_class = needed("wandb.proto.wandb_internal_pb2", what="W&B's logs").Record
    logged: dict[str, list[_Found]] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        found, reason = _Found(), "its log has no run"
        try:
            for content in records(path):
                _take(record_class.FromString(content), found)
        except OSError as error:
            found.damaged.append(shown(path.name))
            reason = f"its log cannot be read ({error.strerror or error})"
        # A stranger's log: the package that parses it raises whatever it meets.
        except Exception:
            found.damaged.append(shown(path.name))
            reason = "its log is damaged"
        if not found.id:
            left_out.append(LeftOut(run=shown(path.name), reason=reason))
        else:
            logged.setdefault(found.id, []).append(found)
    runs = [_joined(sorted(each, key=_begun)) for each in logged.values()]
    ordered = sorted(runs, key=_begun)
    notes = tuple(
        f"{each.name}: {', '.join(each.damaged)} is damaged or still being written: "
        "read as far as it is whole"
        for each in ordered
        if each.damaged
    )
    return Runs(
        path=source,
        tool="wandb",
        runs=tuple(_run(each) for each in ordered),
        left_out=tuple(left_out),
        notes=notes,
    )


def records(path: Path) -> Iterator[bytes]:
    """The records of a log, one after the other.

    Raises:
        DamagedError: Behind the last record that is whole.
        OSError: It cannot be opened or read.
    """
    with path.open("rb") as file:
        yield from _records(file)


def _records(file: Any) -> Iterator[bytes]:
    if file.read(len(_HEADER)) != _HEADER:
        raise DamagedError("no header")
    at = len(_HEADER)
    pieces: list[bytes] = []
    while True:
        block = file.read(_BLOCK - at)
        if not block:
            break
        start = 0
        while len(block) - start >= _PIECE.size:
            checksum, length, kind = _PIECE.unpack_from(block, start)
            start += _PIECE.size
            content = block[start : start + length]
            start += length
            if len(content) < length or zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum:
                raise DamagedError("a record is cut off or damaged")
            if (kind in {_FULL, _FIRST}) == bool(pieces) or not _FULL <= kind <= _LAST:
                raise DamagedError("pieces of a record are missing")
            pieces.append(content)
            if kind in {_FULL, _LAST}:
                yield b"".join(pieces)
                pieces.clear()
        if len(block) < _BLOCK - at:
            if len(block) > start:
                raise DamagedError("it is cut off")
            break
        at = 0
    if pieces:
        raise DamagedError("the last record is cut off")


def _is_log(path: Path) -> bool:
    """Whether a file is a log by its first bytes; by its name where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _HEADER[:4]
    except OSError:
        return path.suffix == ".wandb" and path.is_file()


def _take(record: Any, found: _Found) -> None:
    """Add what one record says."""
    kind = record.WhichOneof("record_type")
    if kind == "history":
        _history(record.history, found)
    elif kind == "summary":
        for item in record.summary.remove:
            found.summary.pop(_key(item), None)
        for item in record.summary.update:
            key = _key(item)
            found.summary.pop(key, None)  # what is written last comes last
            found.summary[key] = item.value_json
    elif kind == "config":
        _configure(record.config, found)
    elif kind == "run":
        run = record.run
        found.id, found.name = shown(run.run_id), shown(run.display_name or run.run_id)
        found.project = shown(run.project)
        found.begun = run.start_time.seconds + run.start_time.nanos / 1e9
        found.group, found.job = shown(run.run_group), shown(run.job_type)
        _configure(run.config, found)
    elif kind == "exit":
        found.exit_code = record.exit.exit_code


def _history(history: Any, found: _Found) -> None:
    row = dict(_items(history.item))
    step = row.get("_step", history.step.num)
    if not isinstance(step, int):
        return
    found.step = max(found.step, step)
    for name, value in numbers({key: row[key] for key in row if key[:1] != _OWN}).items():
        found.points[name].add(step, value)


def _items(items: Any) -> Iterator[tuple[str, Any]]:
    """Keys and values, but those of W&B's own; what is no JSON is left aside."""
    for item in items:
        key = _key(item)
        if not key.startswith(_OWN) or key == "_step":
            with contextlib.suppress(ValueError):
                yield key, parsed(item.value_json)


def _final(summary: dict[str, str]) -> dict[str, float]:
    """The numbers of a summary: also what is set once and never logged, as a final score."""
    found: dict[str, float] = {}
    for key, text in summary.items():
        if not key.startswith(_OWN):
            with contextlib.suppress(ValueError):
                found |= numbers({key: parsed(text)})
    return found


def _key(item: Any) -> str:
    return str(item.key) or ".".join(item.nested_key)


def _configure(config: Any, found: _Found) -> None:
    for key, value in _items(config.update):
        found.config[key] = value
    for item in config.remove:
        found.config.pop(_key(item), None)


def _begun(found: _Found) -> float:
    return found.begun


def _joined(found: list[_Found]) -> _Found:
    """One run of its logs, the first one first: it was resumed."""
    first = found[0]
    for later in found[1:]:
        for metric, points in later.points.items():
            first.points[metric].steps += points.steps
            first.points[metric].values += points.values
        first.config |= later.config
        first.summary |= later.summary
        first.exit_code = later.exit_code
        first.step = max(first.step, later.step)
        first.damaged += later.damaged
    return first


def _run(found: _Found) -> Run:
    metrics = all_series(found.points)
    for metric, value in _final(found.summary).items():
        if metric not in found.points:
            metrics[shown(metric)] = series([(max(found.step, 0), value)])
    params = flat(found.config)
    if found.group:
        params.setdefault("group", found.group)
    if found.job:
        params.setdefault("job_type", found.job)
    state = RUNNING if found.exit_code is None else FAILED if found.exit_code else COMPLETE
    return Run(
        id=found.id,
        name=found.name,
        group=found.project,
        state=state,
        params=params,
        metrics=metrics,
    )
