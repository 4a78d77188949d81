"""The process engine: workers that train side by side and send their records home.

Small trials gain nothing from a second thread, so every worker has one of its own and the speed
comes from running several. Workers never touch the store: they write their trial's files and send
messages through a pipe to the one process that does. A worker trains one unit after the other: what
it imports and compiles, it does once.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from normlab import streams
from normlab.environment import environment
from normlab.errors import MachineError
from normlab.study.engines.again import run_again
from normlab.study.engines.cores import keep_to, shares
from normlab.study.engines.engine import Failed, Faulted, Message, Unit
from normlab.study.engines.in_hand import InHand

_HANDLED_BY_PARENT = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_PATIENCE = 5.0  # seconds a worker gets to leave before it is killed


class ProcessEngine:
    """Trains in `workers` processes, each with `threads` CPU threads.

    Attributes:
        free: The cores that each worker keeps to and no worker has now; see `cores`.
        leaving: Workers that have nothing left to do and may not have ended yet.
    """

    def __init__(self, workers: int, *, device: str = "cpu", threads: int = 1) -> None:
        self.workers = workers
        self.device = device
        self.threads = threads
        self.free = shares(workers, threads) if device == "cpu" else []
        self.leaving: list[_Worker] = []

    def run(self, units: Iterable[Unit]) -> Generator[Message, None, None]:
        """Hand out the units in their order, one to each idle worker.

        Trials whose worker was killed, as for memory, run once more when all others are through,
        alone; several that were together then run in ever smaller units.

        Raises:
            MachineError: A worker process could not start.
        """
        yield from run_again(self._run, units)

    def _run(
        self, units: Iterable[Unit], again: list[Unit] | None
    ) -> Generator[Message, None, None]:
        """Train units; trials that may fit when they are alone go to `again`, if it is given."""
        waiting = iter(units)
        workers: dict[Connection, _Worker] = {}
        try:
            for unit in itertools.islice(waiting, self.workers):
                self._hire(workers, unit)
            while workers:
                # Windows has another class for the ends of its pipes.
                for connection in cast("list[Connection]", wait(list(workers))):
                    yield from self._receive(connection, workers, waiting, again)
        finally:
            for worker in workers.values():
                worker.stop()
                self._take_back(worker)
            while self.leaving:
                self.leaving.pop().see_off()

    def _hire(self, workers: dict[Connection, _Worker], unit: Unit) -> None:
        cores = self.free.pop() if self.free else frozenset[int]()
        worker = _Worker(self.device, self.threads, cores)
        workers[worker.connection] = worker
        worker.give(unit)

    def _take_back(self, worker: _Worker) -> None:
        if worker.cores:
            self.free.append(worker.cores)

    def _receive(
        self,
        connection: Connection,
        workers: dict[Connection, _Worker],
        waiting: Iterator[Unit],
        again: list[Unit] | None,
    ) -> Iterator[Message]:
        worker = workers[connection]
        is_dead, messages = False, []
        try:
            messages.append(connection.recv())
        except (EOFError, OSError):  # also in the middle of a message
            is_dead = True
            del workers[connection]
            self._take_back(worker)
            messages.extend(worker.autopsy())
        told = [message for message in messages if not worker.note(message, again)]
        if is_dead or not worker.hand.open:
            # The next unit first: the worker trains while the store writes.
            unit = next(waiting, None)
            if unit is not None and is_dead:
                self._hire(workers, unit)
            elif unit is not None:
                worker.give(unit)
            elif not is_dead:
                del workers[connection]
                worker.dismiss()
                self.leaving.append(worker)
                self._take_back(worker)
        yield from told


_FROM_OUTSIDE = frozenset(
    {"SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGBUS", "SIGXCPU", "SIGXFSZ"}
)
"""Signals that a process does not give itself: memory or time ran out, someone ended it."""


class _Worker:
    """A process at the other end of a pipe, and the unit it has."""

    has_spoken = False

    def __init__(self, device: str, threads: int, cores: frozenset[int]) -> None:
        self.hand = InHand()
        self.cores = cores
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, device, threads, cores), daemon=True
        )
        # Ctrl-C and the end of a session reach the whole group of processes and are this one's to
        # handle: what is held back here when a worker starts, never reaches it.
        with _current_folder_left_out(), _signals_held_back():
            self.process.start()
        theirs.close()

    def give(self, unit: Unit) -> None:
        self.hand.take(unit)
        # If it died, the next receive finds out and says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(unit)

    def note(self, message: Message, again: list[Unit] | None) -> bool:
        """Keep account of a message; whether its trial is to be taken up again instead of told."""
        self.has_spoken = True
        return self.hand.note(message, again)

    def dismiss(self) -> None:
        """Let it go when it has nothing left to do; a Python with torch takes a second for that."""
        self.connection.close()

    def see_off(self) -> None:
        """Wait until it has ended."""
        self.process.join(_PATIENCE)
        self.stop()

    def stop(self) -> None:
        """End it, whatever it does: a file it was writing is left half-written and swept."""
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def autopsy(self) -> list[Failed | Faulted]:
        """Why it died, for each open trial, and who is to blame: the machine or the trial it had.

        Raises:
            MachineError: It never came to life.
        """
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        self.stop()
        is_killed = False
        if code is None or code >= 0:
            died = f"the worker process ended with exit code {code}"
        else:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            died = f"the worker process was ended by {name}{hint}"
            is_killed = name in _FROM_OUTSIDE
        if not (is_killed or self.has_spoken):
            raise MachineError(f"no worker could be started: {died} before it took up a trial")
        return self.hand.ends(died, is_own=not is_killed)


@contextlib.contextmanager
def _current_folder_left_out() -> Iterator[None]:
    """Have new Pythons not look for modules in the current folder first.

    It may hold a stranger's `pickle.py`. Where this process looks, a worker is told afterwards.
    """
    with environment({"PYTHONSAFEPATH": "1"}):
        yield


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_BY_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, device: str, threads: int, cores: frozenset[int]) -> None:
    """What a worker process does: train units until the pipe closes."""
    keep_to(cores)  # before there is a second thread: each keeps to what its maker kept to
    for number in _HANDLED_BY_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_BY_PARENT)
    streams.guard()
    streams.go_on_without_reader(lambda _: None)  # what own code prints may get lost
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    import torch

    from normlab.study.engines.work import perform

    torch.set_num_threads(threads)
    try:
        while True:
            for message in perform(connection.recv(), device):
                connection.send(message)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _leave_with_parent() -> None:
    """End this process the moment its parent is gone, even killed, so that no orphan trains on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
