"""Taking finished trials over from another study's folder, which may be a stranger's.

Of the other store only outcomes are believed: what a trial is (recipe, seed, data) this study's own
plan says. Files are read by the trial's id and the file's kind, checked against their SHA-256 and
written by id and kind; a record that names another path, or a link on the way, leaves the trial.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from normlab.records import FINISHED, Artifact, EpochRecord, TrialResult
from normlab.store.paths import ARTIFACTS, artifact_path, is_id, read_regular

Row: TypeAlias = Mapping[str, Any]
"""A row's values by column."""


class Source(Protocol):
    """What is read of the other folder's store."""

    folder: Path

    def rows(self, table: str, trial_ids: Sequence[str]) -> list[sqlite3.Row]:
        """The rows of these trials."""


_RESULT = {
    f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(TrialResult)
}
"""Whether a result must have the field."""
_WHOLE = 1 << 63  # what a whole number of the store is below


@dataclass(frozen=True)
class TakenOver:
    """What came of looking for trials in another study's folder.

    Attributes:
        ids: The trials taken.
        refused: Why finished trials were left, by id.
    """

    ids: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finished trial of another folder or file that can be taken over.

    Attributes:
        trial: Its row.
        provenance: Where it ran, each place with the folder it was taken from.
        epochs: Its rows.
        artifacts: Its files, which lie where its id and their kinds say.
        load: Content by path, each file checked; raises RefusedError.
        missing: How many files it should have that are not there, and are left out.
    """

    trial: Row
    provenance: str
    epochs: Sequence[Row]
    artifacts: Sequence[Artifact]
    load: Callable[[], dict[str, bytes]]
    missing: int = 0


class RefusedError(Exception):
    """A trial is not as a run of normlab leaves it; the message says how."""


def outcome(source: Source, trial_id: str, *, bare: bool = False) -> Outcome | None:
    """A trial of another store, checked; None if it is not finished there.

    Args:
        source: The other store.
        trial_id: Of the trial.
        bare: Whether files that are not there at all are left out, and none is missed.

    Raises:
        RefusedError: What is stored of it is not what normlab writes.
    """
    rows = source.rows("trials", [trial_id])
    if not rows or rows[0]["state"] not in FINISHED:
        return None
    artifacts = [dict(row) for row in source.rows("artifacts", [trial_id])]
    there = [row for row in artifacts if not bare or not _is_gone(source.folder, row)]
    found = checked(
        dict(rows[0]),
        [dict(row) for row in source.rows("epochs", [trial_id])],
        there,
        name=source.folder.name,
        read=lambda path, size: read_regular(source.folder, path, size),
    )
    return replace(found, missing=len(artifacts) - len(there))


def _is_gone(folder: Path, row: Row) -> bool:
    known = is_id(row["trial_id"]) and row["kind"] in ARTIFACTS
    return known and not os.path.lexists(folder / artifact_path(row["trial_id"], row["kind"]))


def checked(
    trial: Row,
    epochs: Sequence[Row],
    artifacts: Sequence[Row],
    *,
    name: str,
    read: Callable[[str, int], bytes | None],
) -> Outcome:
    """What is stored of a finished trial elsewhere, if it is what normlab writes.

    Args:
        trial: Its row.
        epochs: Its rows.
        artifacts: Its rows.
        name: Of the folder or file that it is in.
        read: The content of a file by path and bytes; None if there is no such one.

    Raises:
        RefusedError: It is not; the message says how.
    """
    check_identity(trial)
    words = (trial["reason"], trial["started_at"], trial["finished_at"])
    if not all(word is None or isinstance(word, str) for word in words):
        raise RefusedError("its times or its reason are no text")
    _check_result(trial)
    _check_epochs(epochs)
    found = [_artifact(trial["id"], row) for row in artifacts]

    def load() -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for one in found:
            content = read(one.path, one.bytes)
            if content is None or hashlib.sha256(content).hexdigest() != one.sha256:
                raise RefusedError(f"{one.path} is not there as recorded")
            files[one.path] = content
        return files

    return Outcome(trial, _provenance(trial, name), epochs, found, load)


def _artifact(trial_id: str, row: Row) -> Artifact:
    if row["kind"] not in ARTIFACTS or row["path"] != artifact_path(trial_id, row["kind"]):
        raise RefusedError(f"it names a file that no trial has, {row['path']!r}")
    if not isinstance(row["sha256"], str) or type(row["bytes"]) is not int:
        raise RefusedError(f"of {row['path']} neither hash nor size is known")
    return Artifact(kind=row["kind"], path=row["path"], sha256=row["sha256"], bytes=row["bytes"])


def _provenance(trial: Row, name: str) -> str:
    """Where it says that it ran, and from whom that is known."""
    try:
        places = json.loads(trial["provenance"] or "[]")
    except (TypeError, ValueError, RecursionError):
        places = []
    known = [place for place in places if isinstance(place, dict)] if places else []
    marked = [
        {**place, "taken_from": [*_names(place.get("taken_from")), name]} for place in known or [{}]
    ]
    return json.dumps(marked)


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def check_identity(trial: Row) -> None:
    """Refuse a trial whose id, recipe, seed or data are not of the kind that a trial has.

    Raises:
        RefusedError: They are not.
    """
    numbers, texts = (trial["seed"], trial["semantics"]), (trial["data_digest"], trial["recipe"])
    whole = all(type(n) is int and abs(n) < _WHOLE for n in numbers)
    if not is_id(trial["id"]) or not whole or not all(isinstance(text, str) for text in texts):
        raise RefusedError("its id, seed or data are not what a trial has")
    try:
        recipe = json.loads(trial["recipe"])
    except (ValueError, RecursionError):
        recipe = None
    if not isinstance(recipe, dict):
        raise RefusedError("its recipe is no JSON")


def _check_result(trial: Row) -> None:
    try:
        result = json.loads(trial["result"])
    except (TypeError, ValueError, RecursionError):
        raise RefusedError("its result is no JSON") from None
    known = isinstance(result, dict) and result.keys() <= _RESULT.keys()
    if not known or any(needed and name not in result for name, needed in _RESULT.items()):
        raise RefusedError("its result is not what a trial leaves")
    if result["state"] != trial["state"] or not isinstance(result.get("checks", []), list):
        raise RefusedError("its result is another one than its state")


def _check_epochs(epochs: Sequence[Row]) -> None:
    texts = {"details"}
    for number, row in enumerate(epochs, start=1):
        if row["epoch"] != number:
            raise RefusedError(f"epoch {number} is missing")
        for each in fields(EpochRecord):
            value = row[each.name]
            number_there = isinstance(value, int | float) and not math.isnan(value)
            number_there = number_there and (isinstance(value, float) or abs(value) < _WHOLE)
            left_out = value is None and "None" in str(each.type)
            if each.name not in texts and not left_out and not number_there:
                raise RefusedError(f"{each.name} of epoch {number} is no number")
        try:
            details = json.loads(row["details"])
        except (TypeError, ValueError, RecursionError):
            details = None
        if not isinstance(details, dict):
            raise RefusedError(f"details of epoch {number} are no JSON")


def refusals(found: TakenOver) -> str | None:
    """Why trials were left, in one sentence; None if none was."""
    if not found.refused:
        return None
    trial, why = next(iter(found.refused.items()))
    rest = len(found.refused) - 1
    return f"trial {trial} is trained anew: {why}" + (f" (and {rest} more)" if rest else "")
