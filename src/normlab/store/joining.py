"""Joining the trials of another store, or of a file of trials, with those of a study's folder.

By trial id, each once: a trial that is here with the same numbers is here already; one that is here
with other numbers stays as it is, and the other version is written to a file of its own.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normlab.errors import UserError, for_user
from normlab.files import make_folder, put_in_place, temporary_name
from normlab.places import Place
from normlab.records import FINISHED
from normlab.store.paths import CONFLICTS, DATABASE, refuse_links
from normlab.store.plans import as_written, not_ours, parse_places
from normlab.store.portable import (
    ENDING,
    Entry,
    Head,
    Refused,
    TrialsFile,
    identity,
    identity_if_any,
    may_replace,
    pack,
)
from normlab.store.sameness import differences
from normlab.store.schema import refusal
from normlab.store.store import Store, TrialRow
from normlab.store.takeover import Outcome, RefusedError, outcome

_LONGEST = 60  # characters of a source's name in that of a file


@dataclass(frozen=True)
class FolderOrigin:
    """Another study's folder. Use `origin` in a with statement."""

    path: Path
    head: Head
    store: Store

    def entries(
        self, *, only: AbstractSet[str] | None = None, bare: bool = True
    ) -> Iterator[Entry]:
        """Its finished trials and its planned ones, by id.

        Args:
            only: Which finished ones; None for all.
            bare: Whether files that are not there at all are left out, and none is missed.
        """
        planned = set(self.head.plan.trials)
        finished = self.store.finished()
        wanted = set(finished) if only is None else only & set(finished)
        for trial_id in sorted(planned | wanted):
            if trial_id not in wanted:
                yield self._planned(trial_id)
                continue
            try:
                found = outcome(self.store, trial_id, bare=bare)
            except RefusedError as error:
                (row,) = self.store.rows("trials", [trial_id])
                yield Refused(str(trial_id), row["seed"], str(error), identity_if_any(dict(row)))
            else:
                if found is not None:
                    yield found

    def _planned(self, trial_id: str) -> TrialRow:
        rows = self.store.rows("trials", [trial_id])
        if not rows:
            raise not_ours(self.path, f"its plan has a trial {trial_id} that it does not hold")
        found = identity_if_any(dict(rows[0]))
        if found is None:
            raise not_ours(self.path, f"its trial {trial_id} is not what a trial is")
        return found


@contextmanager
def origin(path: Path) -> Iterator[FolderOrigin | TrialsFile]:
    """Open a study's run folder, or a file of trials, to read its trials.

    Raises:
        UserError: It is neither, it is a link, or it cannot be read.
    """
    if path.is_dir():
        refuse_links(path)
        if not (path / DATABASE).is_file():
            raise UserError(
                f"{path} is no study's run folder: it has no {DATABASE}. Name the folder of one "
                "study, such as runs/digits-norms, or a file of export-trials"
            )
        with folder_origin(path) as found:
            yield found
    elif path.exists():
        with TrialsFile.open(path) as file:
            yield file
    else:
        raise UserError(f"{path} is not there")


@contextmanager
def folder_origin(path: Path) -> Iterator[FolderOrigin]:
    """A study's folder as it stands, also while a run writes there.

    Raises:
        UserError: Nothing was run there, or it cannot be read.
    """
    with Store.read_any(path) as store, store.as_it_stands():
        yield FolderOrigin(path, head_of(store), store)


def head_of(store: Store) -> Head:
    """What a store says of its study.

    Raises:
        UserError: Nothing was run there, or something is not what normlab writes.
    """
    plan = store.plan()
    with as_written(store.folder):
        declared = store.declared_seeds()
        return Head(plan, _since(declared), declared, store.looks())


def _since(declared: Sequence[tuple[str, frozenset[int]]]) -> str:
    """Since when the last plan's seeds are declared."""
    since, seeds = declared[-1]
    for at, before in reversed(declared):
        if before != seeds:
            break
        since = at
    return since


@dataclass(frozen=True)
class Differing:
    """A trial that another store has with other numbers.

    Attributes:
        id: Of the trial.
        seed: Its seed.
        differs: In what, in words.
        here: The places where this folder's was trained.
        there: The places where the other one was.
    """

    id: str
    seed: int
    differs: tuple[str, ...]
    here: tuple[Place, ...]
    there: tuple[Place, ...]


@dataclass
class Joined:
    """What came of the trials of one origin.

    Attributes:
        taken: Ids of the trials that were not here.
        known: How many were here with the same numbers.
        filled: How many of these were here without files, and have them now.
        differing: Those that are here with other numbers.
        refused: Those that cannot be taken.
        unfinished: Ids of its planned trials that are not finished there.
        bare: How many were taken without files that are not there.
        kept: The file with its version of the differing ones.
    """

    taken: list[str] = field(default_factory=list)
    known: int = 0
    filled: int = 0
    differing: list[Differing] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    bare: int = 0
    kept: Path | None = None


def join(store: Store, source: FolderOrigin | TrialsFile) -> Joined:
    """Take what another store has and this one has not; within `Store.at_once`.

    Raises:
        UserError: The source cannot be read, or was changed meanwhile.
    """
    found = Joined()
    with as_written(source.path):
        for entry in _read(source):
            if isinstance(entry, TrialRow):
                found.unfinished.append(entry.id)
                store.add_trials([entry])
            else:
                _join(store, entry, found)
        # They are planned all the same, and trained by a run.
        held = source.head.plan.trials
        store.add_trials(
            one.trial for one in found.refused if one.trial is not None and one.id in held
        )
        if found.differing:
            found.kept = _keep(store.folder, source, {one.id for one in found.differing})
    return found


def _read(source: FolderOrigin | TrialsFile) -> Iterator[Entry]:
    """Its entries; a database that cannot be read is its own fault, not that of this folder."""
    try:
        yield from source.entries()
    except sqlite3.DatabaseError as error:
        raise refusal(source.path, error, write=False) from None


def _join(store: Store, there: Outcome | Refused, found: Joined) -> None:
    if isinstance(there, Refused):
        found.refused.append(there)
        return
    trial_id, seed = there.trial["id"], there.trial["seed"]
    rows = store.rows("trials", [trial_id])
    try:
        if rows:
            _check_same(rows[0], there)
        if not rows or rows[0]["state"] not in FINISHED:
            store.take_with_files(there)
            found.taken.append(trial_id)
            found.bare += bool(there.missing)
            return
    except RefusedError as error:
        found.refused.append(Refused(trial_id, seed, str(error), identity(there.trial)))
        return
    here = dict(rows[0])
    epochs = [dict(row) for row in store.rows("epochs", [trial_id])]
    if differs := differences(here, epochs, there.trial, there.epochs):
        places = parse_places(here["provenance"]), parse_places(there.trial["provenance"])
        found.differing.append(
            Differing(trial_id, seed, differs, tuple(places[0]), tuple(places[1]))
        )
        return
    found.known += 1
    try:
        found.filled += store.take_files(there)
    except RefusedError:  # its numbers are here; a file that is damaged there is no loss
        return


def _check_same(here: Any, there: Outcome) -> None:
    """Refuse a trial of another seed, or on other data, under an id that is here."""
    for key in ("seed", "data_digest", "semantics"):
        if here[key] != there.trial[key]:
            raise RefusedError(f"its {key} is {there.trial[key]}, here it is {here[key]}")


def _keep(folder: Path, source: FolderOrigin | TrialsFile, ids: AbstractSet[str]) -> Path:
    """Write a source's version of some trials to a file; the same version again is no new one."""
    target = folder / CONFLICTS
    name = re.sub(r"[^0-9A-Za-z._-]+", "-", source.path.resolve().name)[:_LONGEST].strip(".-")
    with _written(target), _packed(target, source, _chosen(source, ids)) as (temporary, digest, _):
        mark = f"-{digest[:12]}"  # which a file of this folder has already
        path = target / f"{name.removesuffix(ENDING).removesuffix(mark)}{mark}{ENDING}"
        put_in_place(temporary, path)
    return path


@contextmanager
def _packed(
    folder: Path,
    source: FolderOrigin | TrialsFile,
    entries: Iterable[TrialRow | Outcome],
    kinds: Sequence[str] = (),
) -> Iterator[tuple[Path, str, int]]:
    """A file of trials in a folder, under a temporary name; it is gone at the end if it keeps that.

    Gives its path and what `pack` returns.
    """
    make_folder(folder)
    temporary = temporary_name(folder)
    try:
        with temporary.open("xb") as stream:
            digest, count = pack(stream, source.head, entries, kinds)
        yield temporary, digest, count
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """What goes wrong within it goes wrong because `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise for_user(error, f"{path} cannot be written: {error.strerror}") from None


def _chosen(
    source: FolderOrigin | TrialsFile, ids: AbstractSet[str]
) -> Iterator[TrialRow | Outcome]:
    """Of these trials what the store has but their files, of other planned ones what they are."""
    planned = source.head.plan.trials
    for entry in _read(source):
        if isinstance(entry, TrialRow) or (isinstance(entry, Outcome) and entry.trial["id"] in ids):
            yield entry
        elif isinstance(entry, Outcome) and entry.trial["id"] in planned:
            yield identity(entry.trial)


def export(
    source: FolderOrigin, path: Path, *, only: AbstractSet[str] | None, kinds: Sequence[str]
) -> int:
    """Write finished trials of a folder to a file; how many.

    Args:
        source: The folder.
        path: The file; an older one of trials is replaced, nothing else.
        only: Ids; None for all that are finished.
        kinds: Of the files that go along.

    Raises:
        UserError: The file cannot be written, no trial is finished, or one is not as a run leaves
            it.
    """
    entries = _whole(source.entries(only=only, bare=not kinds))
    try:
        with _written(path):
            if path.is_dir():
                raise UserError(f"{path} is a folder: name a file")
            if not may_replace(path):
                raise UserError(
                    f"{path} is there, and is no file of export-trials: name another one"
                )
            with _packed(path.parent, source, entries, kinds) as (temporary, _, count):
                if not count:
                    raise UserError(
                        f"{source.path}: no trial is finished among those to be written to {path}"
                    )
                put_in_place(temporary, path)
    except RefusedError as error:
        hint = " (`normlab run STUDY --retrain-lost` makes lost files again)" if kinds else ""
        raise UserError(f"{source.path}: {error}{hint}") from None
    return count


def _whole(entries: Iterable[Entry]) -> Iterator[TrialRow | Outcome]:
    for entry in entries:
        if isinstance(entry, Refused):
            raise RefusedError(f"trial {entry.id}: {entry.reason}")
        yield entry
