"""Training what no other run trains: runs of one study in one folder take turns at its trials."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence

from normlab import interrupts
from normlab.errors import fault_of_machine
from normlab.study.engines import Engine, Message, Task, Unit
from normlab.study.taking import Taking
from normlab.study.telling import Telling

_POLL = 1.0  # seconds between two looks at what other runs have

Engines = Callable[[Sequence[Task]], tuple[Engine, list[Unit]]]
"""Who trains some tasks, and as which units of work."""


def train_all(
    taking: Taking, tasks: Sequence[Task], telling: Telling, engine_for: Engines
) -> KeyboardInterrupt | None:
    """Train the tasks, those of other runs once they are free, until none is left with anyone.

    Args:
        taking: Stores what comes.
        tasks: What is to be trained.
        telling: Tells what comes.
        engine_for: Gives who trains some of the tasks, and as which units of work.

    Returns:
        What stopped it before its end, if something did.
    """
    try:
        if taking.store.run is None:
            if tasks:
                _train(taking, *engine_for(tasks), telling)
        else:
            while left := _left(taking, tasks, telling):
                _train(taking, *engine_for(left), telling)
        if not telling.has_begun:
            telling.begin([], 0)
    except KeyboardInterrupt as stopped:
        interrupts.forget()
        return stopped
    return None


def _left(taking: Taking, tasks: Sequence[Task], telling: Telling) -> list[Task]:
    """The tasks that this run can take up; waits while all that is left is with other runs."""
    store = taking.store
    ids = [task.trial_id for task in tasks]
    while True:
        work = store.work(ids)
        free = work.free - taking.put_down
        if free or not work.held:
            return [task for task in tasks if task.trial_id in free]
        telling.wait(len(work.held))
        time.sleep(_POLL)
        interrupts.check()
        ids = [*work.held, *work.free]  # the others are finished


def _train(taking: Taking, engine: Engine, units: list[Unit], telling: Telling) -> None:
    """Train those of the units that other runs do not take up first."""
    messages = engine.run(_claimed(taking, units))
    try:
        telling.begin(units, engine.workers)
        for message in _stored(messages, taking, telling):
            telling.tell(message)
            interrupts.check()
    finally:
        messages.close()
        # On a full disk not even that can be stored; the next run does it.
        with contextlib.suppress(sqlite3.DatabaseError):
            taking.store.release(taking.running)
    taking.away.clear()  # no worker here has them any more


def _claimed(taking: Taking, units: Sequence[Unit]) -> Iterator[Unit]:
    """The units, each claimed when a worker asks for it, with those trials that no other run has.

    What others had is asked for once more at the end: they may have been killed.
    """
    store, left = taking.store, list(units)
    while left:
        passed, found = [], False
        for unit in left:
            not_again = taking.put_down | taking.away
            got = store.claim([t.trial_id for t in unit if t.trial_id not in not_again])
            if mine := tuple(task for task in unit if task.trial_id in got):
                found = True
                yield mine
            if others := tuple(task for task in unit if task.trial_id not in got):
                passed.append(others)
        left = passed if found else []


def _stored(messages: Iterator[Message], taking: Taking, telling: Telling) -> Iterator[Message]:
    """Every message after it is stored; only a fault of ours is the machine's, not a listener's.

    Messages of a trial that another run took over are left out; that it did is told once.
    """
    try:
        for message in messages:
            if message.trial_id in taking.away:
                continue
            if taking.take(message):
                yield message
            else:
                telling.take_over(message.trial_id)
    except (OSError, MemoryError) as error:
        fault = fault_of_machine(error)
        if fault is None:
            raise
        raise taking.stop(fault) from None
