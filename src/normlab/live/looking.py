"""How far a study is, read from its store in milliseconds: what a page asks for every two seconds.

A look opens the store, reads and closes it: nothing is held that a writer could have to wait for,
or that would keep its log from being worked into the database. Where the files show that nothing
was written since the last look, none is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from normlab.live.words import without_paths
from normlab.places import trained_together
from normlab.records import FINISHED
from normlab.store import Store
from normlab.store.paths import DATABASE, refuse_links
from normlab.store.plans import as_written, parse_places
from normlab.study.stored import LostFile, lost_files, rows_of, state_of
from normlab.text import shown

if TYPE_CHECKING:
    import sqlite3

    from normlab.records.plan import PlanRecord

RECENT = 0.5
"""Seconds in which files may change again without another time of change to show for it."""
PRESENCE = 10.0
"""Seconds after which who is at work is looked for again, though nothing was written."""
LOST = 60.0
"""Seconds between two looks at the files of finished trials."""
_MOST_OVERHEAD = 10.0


@dataclass(frozen=True)
class Running:
    """A trial at work now, and how far it is."""

    arm: str
    seed: int
    epoch: int
    of: int | None


@dataclass(frozen=True)
class Failure:
    """A trial that failed or is invalid, with what it said: a traceback or a sentence."""

    arm: str
    seed: int
    state: str
    reason: str

    @property
    def last(self) -> str:
        """Its last line."""
        lines = self.reason.strip().splitlines()
        return lines[-1] if lines else self.state


@dataclass(frozen=True)
class Left:
    """What is left to do, in hours, as fast as the trials before it were.

    Attributes:
        hours: From now on, with those at work; of one worker where nobody is.
        workers: Trials that train side by side, each in a worker of its own.
    """

    hours: float
    workers: int


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        name: Of its folder.
        question: What it asks.
        counts: Trials by state; `interrupted` where who ran it is gone.
        epochs: Stored ones.
        planned: Epochs of all trials; of one that ended early those it has.
        running: Trials at work.
        failures: Failed and invalid trials.
        lost: Files of finished trials that are gone or damaged.
        at_work: Runs that share the folder now.
        left: What is left to do, where that can be told.
        version: Changes with everything that a report shows.
    """

    name: str
    question: str
    counts: Mapping[str, int]
    epochs: int
    planned: int
    running: Sequence[Running] = ()
    failures: Sequence[Failure] = ()
    lost: Sequence[LostFile] = ()
    at_work: int = 0
    left: Left | None = None
    version: str = ""

    @property
    def trials(self) -> int:
        """All that are planned."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """Those that will never run again."""
        return sum(self.counts.get(state, 0) for state in FINISHED)


class _Ran(NamedTuple):
    """A trial that has ended: its epochs, their seconds, and what they took on the clock."""

    epochs: int
    seconds: float
    overhead: float | None


Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass
class Looker:
    """Looks at one study; from one thread at a time.

    Attributes:
        folder: The study's.
        clock: Seconds that only grow.
        wall: Seconds since 1970, as files have them.
        reads: How often the store was opened.
    """

    folder: Path
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    reads: int = 0
    _before: Signature | None = None
    _found: Progress | None = None
    _read_at: float = 0.0
    _lost_at: float | None = None
    _lost: list[LostFile] = field(default_factory=list)
    _plan: tuple[int, PlanRecord] | None = None
    _ended: dict[tuple[str, str], _Ran] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the study's arms, as the last look found them."""
        return self._plan[1].labels if self._plan else ()

    def look(self) -> Progress:
        """How far the study is now.

        Raises:
            UserError: Its store is gone, damaged, another's or to be brought up to date; the
                message names the folder.
        """
        now, before = self.clock(), self._signature()
        settled = self._found is not None and self._found.finished == self._found.trials
        if (
            self._found is not None
            and before == self._before
            and (settled or now - self._read_at < PRESENCE)
        ):
            return self._found
        self._found, self._read_at = None, now
        self.reads += 1
        refuse_links(self.folder)
        with as_written(self.folder), Store.read(self.folder) as store:
            found = self._look(store)
        # Files that changed just now may do so again within the same tick of the clock.
        newest = max((one[2] for one in before if one is not None), default=0)
        self._before = before if self.wall() - newest / 1e9 > RECENT else None
        self._found = found
        return found

    def _signature(self) -> Signature:
        """The database's files as the system shows them; a log without content is none."""
        found: list[tuple[int, int, int] | None] = []
        for ending in ("", "-wal", "-journal"):
            try:
                state = (self.folder / f"{DATABASE}{ending}").stat(follow_symlinks=False)
            except OSError:
                found.append(None)
                continue
            one = (state.st_ino, state.st_size, state.st_mtime_ns)
            found.append(one if state.st_size or not ending else None)
        return tuple(found)

    def _look(self, store: Store) -> Progress:
        with store.as_it_stands():
            plan = self._current(store)
            ids = list(plan.trials)
            rows = rows_of(store, plan, store.steps(ids))
            done = self._epochs(store, rows.values())
            looks = store.number_of_looks()
        # Asked after the rows were read: a run that ended meanwhile has left none that runs.
        held, at_work = store.held(ids), len(store.others())
        if self._lost_at is None or self._read_at - self._lost_at > LOST:
            self._lost, self._lost_at = lost_files(plan, store.losses(ids)), self._read_at
        found = self._made(plan, rows, done, held)
        shows: list[object] = [self._plan and self._plan[0], looks]
        shows += [[row["id"], _ending(row), done[row["id"]].epochs] for row in rows.values()]
        shows += [found.counts.get("interrupted", 0)]
        version = hashlib.blake2b(json.dumps(shows).encode(), digest_size=16).hexdigest()
        return replace(found, at_work=at_work, lost=self._lost, version=version)

    def _current(self, store: Store) -> PlanRecord:
        number = store.plan_number()
        if self._plan is None or self._plan[0] != number:
            self._plan, self._ended = (number, store.plan()), {}
        return self._plan[1]

    def _epochs(self, store: Store, rows: Iterable[sqlite3.Row]) -> dict[str, _Ran]:
        """The epochs of every trial; those of trials that had ended before are remembered."""
        asked = [row for row in rows if (row["id"], _ending(row)) not in self._ended]
        times = store.epoch_times([row["id"] for row in asked])
        found = {key[0]: ran for key, ran in self._ended.items()}
        for row in asked:
            epochs, seconds = times.get(row["id"], (0, 0.0))
            ended = row["state"] in FINISHED
            ran = _Ran(epochs, seconds, _overhead(row, seconds) if ended else None)
            found[row["id"]] = ran
            if ended:
                self._ended[row["id"], _ending(row)] = ran
        return found

    def _made(
        self,
        plan: PlanRecord,
        rows: Mapping[str, sqlite3.Row],
        done: Mapping[str, _Ran],
        held: frozenset[str],
    ) -> Progress:
        running, failures, planned, states = [], [], 0, []
        workers = 0.0
        for trial_id, (arm, trial) in plan.trials.items():
            row, epochs = rows[trial_id], done[trial_id].epochs
            state = state_of(row["state"], gone=trial_id not in held)
            states.append(state)
            planned += epochs if state in FINISHED else max(arm.epochs or 0, epochs)
            if state == "running":
                workers += 1 / trained_together(parse_places(row["provenance"]))
                running.append(Running(arm.label, trial.seed, epochs, arm.epochs))
            if row["reason"] and state in ("failed", "invalid"):
                said = shown(without_paths(str(row["reason"]), self.folder), lines=True)
                failures.append(Failure(arm.label, trial.seed, state, said))
        return Progress(
            name=self.folder.name,
            question=plan.question,
            counts=dict(Counter(states)),
            epochs=sum(ran.epochs for ran in done.values()),
            planned=planned,
            running=running,
            failures=failures,
            left=_left(plan, rows, done, workers),
        )


def _ending(row: sqlite3.Row) -> str:
    """What changes where a trial is trained again."""
    return f"{row['state']} {row['finished_at']}"


def _overhead(row: sqlite3.Row, seconds: float) -> float | None:
    """How often its seconds of training a trial took on the clock, evaluation and files included.

    None where that cannot be told. Where it was interrupted meanwhile it is far too much: of many
    trials only the middle one counts.
    """
    with contextlib.suppress(TypeError, ValueError):
        began = datetime.fromisoformat(row["started_at"])
        took = (datetime.fromisoformat(row["finished_at"]) - began).total_seconds()
        share = took / trained_together(parse_places(row["provenance"]))
        if seconds > 0 and took > 0:
            return min(max(share / seconds, 1.0), _MOST_OVERHEAD)
    return None


def _left(
    plan: PlanRecord,
    rows: Mapping[str, sqlite3.Row],
    done: Mapping[str, _Ran],
    workers: float,
) -> Left | None:
    """Hours left by the arms' own speeds, an arm without one by that of all."""
    speeds: dict[str, tuple[int, float]] = {}
    left: Counter[str] = Counter()
    for trial_id, (arm, _) in plan.trials.items():
        ran = done[trial_id]
        known = speeds.get(arm.label, (0, 0.0))
        speeds[arm.label] = (known[0] + ran.epochs, known[1] + ran.seconds)
        if rows[trial_id]["state"] not in {*FINISHED, "failed"}:
            left[arm.label] += max((arm.epochs or 0) - ran.epochs, 0)
    epochs = sum(known[0] for known in speeds.values())
    seconds = sum(known[1] for known in speeds.values())
    if not epochs or not seconds > 0 or not left.total():
        return None
    of_all = seconds / epochs
    training = 0.0
    for label, number in left.items():
        own_epochs, own_seconds = speeds[label]
        training += number * (own_seconds / own_epochs if own_epochs else of_all)
    overheads = [ran.overhead for ran in done.values() if ran.overhead is not None]
    factor = median(overheads) if overheads else 1.0
    return Left(factor * training / 3600 / max(workers, 1.0), round(workers))
