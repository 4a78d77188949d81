"""Trials as one file that can be sent, or kept in a repository: JSON lines, compressed by gzip.

Each line is one JSON object with one key that says what it is, in this order:

    normlab     format and version, the study's name, the kinds of files that are in it
    plan        the study's plan, with the time since which it is in force
    declared    seeds of every plan the study had, each with the time since which
    look        one for each time that results were seen
    trial       one for each trial, by id: what it is and, if it is finished, all that is stored of
                it, epochs as a list for each column
    file        a piece of a file of the trial before it, in base64
    end         number of trials, and the SHA-256 of every byte before this line (unpacked)

The same trials give the same bytes (with one version of zlib): no time, name or order of the
machine that writes it is in it. Numbers are written so that they are read as the same 64 bits. A
file is a stranger's: sizes are limited, its checksum is compared before anything of it is used, and
what it says of paths is not asked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from normlab.errors import MachineError, UserError, fault_of_machine, for_user
from normlab.records import FINISHED, Artifact, EpochRecord
from normlab.records.plan import Declaration, PlanRecord
from normlab.store.paths import ARTIFACTS, artifact_path, is_id
from normlab.store.plans import parse_plan
from normlab.store.reading import Look
from normlab.store.store import TrialRow
from normlab.store.takeover import Outcome, RefusedError, Row, check_identity, checked

VERSION = 1
"""Of the form; a later one may not be readable."""
ENDING = ".trials.gz"
"""How such a file is named where normlab names it."""

_NAME = "trials"
_PIECE = 3 << 18  # bytes of a file in one line
_LONGEST = 1 << 26  # bytes of one line, unpacked: a plan of 200,000 trials takes a third of it
_LARGEST = 1 << 30  # bytes of one file of a trial
_SMALL = 1 << 28
_TIMES = 100
"""A file may unpack to `_SMALL` bytes, or to so many times its size: numbers in words shrink to a
third or a tenth, what fills a memory from nothing to a thousandth."""

_EPOCH = tuple(each.name for each in fields(EpochRecord))
_IDENTITY = ("id", "seed", "data_digest", "semantics")
_OUTCOME = ("state", "reason", "started_at", "finished_at")


@dataclass(frozen=True)
class Head:
    """What a file of trials, or a folder, says of the study before its trials.

    Attributes:
        plan: The study's.
        since: The time since which it is in force.
        declared: The seeds of every plan, each with the time since which it was in force.
        looks: At the results.
    """

    plan: PlanRecord
    since: str
    declared: Sequence[tuple[str, frozenset[int]]]
    looks: Sequence[Look]


@dataclass(frozen=True)
class Refused:
    """A trial that is not as a run of normlab leaves it.

    Attributes:
        id: As it is stored.
        seed: As it is stored.
        reason: In what it is not.
        trial: What it is, if that at least is as normlab writes it.
    """

    id: str
    seed: object
    reason: str
    trial: TrialRow | None = None


_Line: TypeAlias = tuple[str, Mapping[str, Any]]

Entry = TrialRow | Outcome | Refused
"""A planned trial that is not finished, one that is, or one that cannot be taken."""


def pack(
    stream: BinaryIO, head: Head, entries: Iterable[TrialRow | Outcome], kinds: Sequence[str] = ()
) -> tuple[str, int]:
    """Write trials in the portable form.

    Args:
        stream: To write to.
        head: Of the study; the place of its file is left out.
        entries: By id.
        kinds: Of the files that go along.

    Returns:
        The SHA-256 of what was written, unpacked, and how many finished trials are in it.

    Raises:
        RefusedError: A file of a trial is not as recorded; the message names the trial.
    """
    digest, trials, finished = hashlib.sha256(), 0, 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=9, mtime=0) as packed:

        def put(what: str, value: object, **more: object) -> None:
            line = json.dumps({what: value, **more}, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            packed.write(line)

        plan = portable(head).plan
        put("normlab", _NAME, version=VERSION, study=plan.name, files=sorted(kinds))
        put("plan", json.loads(plan.to_json()), since=head.since)
        put("declared", [[since, sorted(seeds)] for since, seeds in head.declared])
        for look in head.looks:
            declared = look.declared.model_dump(mode="json")
            put("look", look.at, declared=declared, trials=sorted(look.trials))
        for entry in entries:
            trials += 1
            if isinstance(entry, TrialRow):
                values = {name: getattr(entry, name) for name in _IDENTITY}
                put("trial", {**values, "recipe": entry.recipe, "state": "pending"})
                continue
            finished += 1
            carried = _carried(entry, kinds)
            put("trial", {**_trial(entry), "artifacts": [_described(a) for a in carried]})
            files = _loaded(entry) if carried else {}
            for artifact in carried:
                content = files[artifact.path]
                for start in range(0, len(content), _PIECE):
                    piece = base64.b64encode(content[start : start + _PIECE]).decode()
                    put("file", artifact.kind, data=piece)
        end = {"trials": trials, "sha256": digest.hexdigest()}
        packed.write(json.dumps({"end": end}, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest(), finished


def portable(head: Head) -> Head:
    """A head for another folder, where only the way to a study file of normlab's own holds."""
    file = head.plan.file if head.plan.bundled else None
    return replace(head, plan=head.plan.model_copy(update={"file": file}))


def _carried(one: Outcome, kinds: Sequence[str]) -> list[Artifact]:
    found = [artifact for artifact in one.artifacts if artifact.kind in kinds]
    for artifact in found:
        if artifact.bytes > _LARGEST:
            raise UserError(f"{artifact.path} has {artifact.bytes:,} bytes: at most {_LARGEST:,}")
    return sorted(found, key=lambda artifact: artifact.kind)


def _loaded(one: Outcome) -> dict[str, bytes]:
    try:
        return one.load()
    except RefusedError as error:
        raise RefusedError(f"trial {one.trial['id']}: {error}") from None


def _described(artifact: Artifact) -> dict[str, object]:
    return {"kind": artifact.kind, "sha256": artifact.sha256, "bytes": artifact.bytes}


def _trial(one: Outcome) -> dict[str, object]:
    row = one.trial
    return {
        **{name: row[name] for name in _IDENTITY},
        "recipe": json.loads(row["recipe"]),
        **{name: row[name] for name in _OUTCOME},
        "result": json.loads(row["result"]),
        "provenance": _plain(row["provenance"]),
        "epochs": {
            name: [json.loads(e[name]) if name == "details" else e[name] for e in one.epochs]
            for name in _EPOCH
        },
    }


def _plain(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class TrialsFile:
    """A file of trials whose checksum was compared. Use `TrialsFile.open` in a with statement.

    Attributes:
        path: Of the file.
        head: What it says of the study.
    """

    path: Path
    head: Head
    _stream: BinaryIO = field(repr=False)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[TrialsFile]:
        """Open a file that `pack` wrote; it is read once from its beginning to its end.

        Raises:
            UserError: It is none, it is damaged or cut off, or a newer normlab wrote it.
        """
        with _opened(path) as stream:
            yield cls(path, _head(path, _lines(path, stream)), stream)

    def entries(self) -> Iterator[Entry]:
        """Its trials in the file's order; read again, and compared with the checksum again.

        Raises:
            UserError: It was changed since it was opened, or cannot be read.
        """
        waiting: tuple[Mapping[str, Any], dict[str, list[bytes]]] | None = None
        for what, line in _lines(self.path, self._stream):
            if what == "file" and waiting is not None:
                waiting[1].setdefault(line["file"], []).append(_bytes(self.path, line))
            if what in ("trial", "end") and waiting is not None:
                yield self._entry(*waiting)
                waiting = None
            if what == "trial":
                waiting = line["trial"], {}

    def _entry(self, trial: Mapping[str, Any], pieces: Mapping[str, list[bytes]]) -> Entry:
        trial_id, seed = trial.get("id"), trial.get("seed")
        try:
            if trial.get("state") not in FINISHED:
                return identity(_row(trial))
            return _outcome(trial, pieces, self.path.name)
        except RefusedError as error:
            why = str(error)
        except (LookupError, TypeError, ValueError, AttributeError):
            why = "it is not what a trial leaves"
        return Refused(str(trial_id), seed, why, identity_if_any(_row(trial)))


def _row(trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's identity as the columns of a row."""
    row = {name: trial.get(name) for name in _IDENTITY}
    return {**row, "recipe": json.dumps(trial.get("recipe"))}


def identity(row: Row) -> TrialRow:
    """What a trial is, by its row.

    Raises:
        RefusedError: That is not what normlab writes.
    """
    check_identity(row)
    return TrialRow(**{name: row[name] for name in _IDENTITY}, recipe=json.loads(row["recipe"]))


def identity_if_any(row: Row) -> TrialRow | None:
    """What a trial is, by its row; None if that is not what normlab writes."""
    try:
        return identity(row)
    except RefusedError:
        return None


def _outcome(trial: Mapping[str, Any], pieces: Mapping[str, list[bytes]], name: str) -> Outcome:
    epochs = trial["epochs"]
    if len({len(epochs[column]) for column in _EPOCH}) > 1:
        raise RefusedError("its epochs are not whole")
    row = {
        **{key: trial[key] for key in (*_IDENTITY, *_OUTCOME)},
        **{key: json.dumps(trial[key]) for key in ("recipe", "result", "provenance")},
    }
    values = zip(*(epochs[column] for column in _EPOCH), strict=True)
    rows = [dict(zip(_EPOCH, of_one, strict=True)) for of_one in values]
    whole = [
        {"trial_id": trial["id"], **each, "details": json.dumps(each["details"])} for each in rows
    ]
    artifacts = [
        {**one, "path": artifact_path(trial["id"], one["kind"])}
        for one in trial["artifacts"]
        if one["kind"] in ARTIFACTS and is_id(trial["id"])
    ]
    contents = {
        artifact_path(trial["id"], kind): b"".join(parts)
        for kind, parts in pieces.items()
        if kind in ARTIFACTS and is_id(trial["id"])
    }
    return checked(
        row,
        whole,
        artifacts,
        name=name,
        read=lambda path, size: c if len(c := contents.get(path, b"")) == size else None,
    )


def may_replace(path: Path) -> bool:
    """Whether nothing is lost where a file of trials is put: none is there, or one of trials is.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_file():
        return not path.exists()
    start = b'{"normlab":"' + _NAME.encode()
    try:
        with gzip.open(path) as packed:
            return packed.read(len(start)) in {start, b""}
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise UserError(f"{path} is no file")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise for_user(error, f"{path} cannot be read: {error.strerror}") from None
    with stream:
        yield stream


def _lines(path: Path, stream: BinaryIO) -> Iterator[_Line]:
    """The lines of a file of trials, parsed, with the word for what each is.

    Raises:
        UserError: The file is not whole, not such a file or too large.
        MachineError: The disk reports an error.
    """
    try:
        most = max(_SMALL, _TIMES * stream.seek(0, 2))
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream, mode="rb") as packed:
            yield from _parsed(path, packed.readline, most)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise damaged(path, "it is cut off, or no gzip file") from None
    except OSError as error:
        kind = MachineError if fault_of_machine(error) else UserError
        raise kind(f"{path} cannot be read: {error.strerror or error}") from None


def _parsed(path: Path, readline: Callable[[int], bytes], most: int) -> Iterator[_Line]:
    digest, read, trials, stage = hashlib.sha256(), 0, 0, 0
    while line := readline(_LONGEST + 1):
        read += len(line)
        if len(line) > _LONGEST or read > most:
            raise damaged(path, "it unpacks to more than a file of its size may")
        found = _json(path, line)
        what = next(iter(found), "")
        order = _ORDER.get(what, -1)
        first = {0: "normlab", 1: "plan"}.get(stage)
        if order < stage or (first is not None and what != first):
            raise damaged(path, f"a line {what[:20]!r} is not where one may be")
        if what == "normlab":
            _check_version(path, found)
        if what == "trial":
            trials += 1
            if not isinstance(found["trial"], dict):
                raise damaged(path, "a trial is no mapping")
        if what == "end":
            if found["end"] != {"trials": trials, "sha256": digest.hexdigest()}:
                raise damaged(path, "its checksum is not that of its content")
            if readline(1):
                raise damaged(path, "something follows its end")
            yield what, found
            return
        digest.update(line)
        stage = _NEXT.get(what, order)
        yield what, found
    raise damaged(path, "it is cut off" if read else "it is empty")


_ORDER = {"normlab": 0, "plan": 1, "declared": 2, "look": 3, "trial": 4, "file": 4, "end": 5}
_NEXT = {"normlab": 1, "plan": 2, "declared": 3}
"""Lines that are there once: what follows has to be of the next kind, or a later one."""


def _check_version(path: Path, line: Mapping[str, Any]) -> None:
    version = line.get("version")
    if line["normlab"] != _NAME or not isinstance(version, int):
        raise damaged(path, "it is none of normlab's")
    if version > VERSION:
        raise UserError(
            f"{path} was written by a newer normlab (its form has version {version}, this one "
            f"reads up to {VERSION}): install that one"
        )


def _head(path: Path, lines: Iterable[_Line]) -> Head:
    """What stands before the trials; every other line is read too, and so the checksum compared."""
    plan: tuple[PlanRecord, str] | None = None
    declared: list[tuple[str, frozenset[int]]] = []
    looks: list[Look] = []
    for what, line in lines:
        try:
            if what == "plan":
                plan = parse_plan(json.dumps(line["plan"]), path), _text(line["since"])
            elif what == "declared":
                declared = [(_text(since), _seeds(seeds)) for since, seeds in line["declared"]]
            elif what == "look":
                declaration = Declaration.model_validate(line["declared"])
                looks.append(Look(_text(line["look"]), declaration, _ids(line["trials"])))
            elif what == "file":
                _bytes(path, line)
        except (LookupError, TypeError, ValueError, RecursionError):
            raise damaged(path, f"its {what} is not what normlab writes") from None
    if plan is None:  # no such line passes the order of lines
        raise damaged(path, "it has no plan")
    return Head(*plan, declared, looks)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError
    return value


def _ids(values: list[object]) -> frozenset[str]:
    if not all(map(is_id, values)):
        raise ValueError
    return frozenset(map(str, values))


def _seeds(values: list[object]) -> frozenset[int]:
    if not all(type(value) is int for value in values):
        raise ValueError
    return frozenset(value for value in values if isinstance(value, int))


def _bytes(path: Path, line: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(line["data"], validate=True)
    except (LookupError, TypeError, ValueError):
        raise damaged(path, "a piece of a file is no base64") from None


def _json(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise damaged(path, "a line is no JSON") from None
    if not isinstance(found, dict):
        raise damaged(path, "a line is no JSON object")
    return found


def damaged(path: Path, why: str) -> UserError:
    """The error for a file of trials that is not as normlab wrote it; nothing of it is used."""
    return UserError(f"{path} is damaged, or no file of export-trials: {why}")
