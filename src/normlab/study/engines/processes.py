"""The process engine: workers that train side by side and send their records home.

Small trials gain nothing from a second thread, so every worker has one of its own and the speed
comes from running several. Workers never touch the store: they write their trial's files and send
messages through a pipe to the one process that does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from normlab.study.engines.base import Ended, Failed, Message, Task

_PATIENCE = 5.0  # seconds a worker gets to leave before it is killed


class ProcessEngine:
    """Trains in `workers` processes, each with `threads` CPU threads."""

    def __init__(self, workers: int, *, device: str = "cpu", threads: int = 1) -> None:
        self.workers = workers
        self.device = device
        self.threads = threads

    def run(self, tasks: Sequence[Task]) -> Generator[Message, None, None]:
        """Hand out the tasks in their order, one to each idle worker."""
        waiting = list(reversed(tasks))
        workers: dict[Connection, _Worker] = {}
        try:
            for _ in range(min(self.workers, len(tasks))):
                self._hire(workers, waiting)
            while workers:
                for connection in wait(list(workers)):
                    assert isinstance(connection, Connection)
                    yield from self._receive(connection, workers, waiting)
        finally:
            for worker in workers.values():
                worker.stop()

    def _hire(self, workers: dict[Connection, _Worker], waiting: list[Task]) -> None:
        worker = _Worker(self.device, self.threads)
        workers[worker.connection] = worker
        worker.give(waiting.pop())

    def _receive(
        self, connection: Connection, workers: dict[Connection, _Worker], waiting: list[Task]
    ) -> Iterator[Message]:
        worker = workers[connection]
        try:
            message: Message = connection.recv()
        except (EOFError, OSError):  # also in the middle of a message
            del workers[connection]
            if waiting:
                self._hire(workers, waiting)
            yield Failed(worker.task.trial_id, worker.autopsy())
            return
        if isinstance(message, Ended | Failed):
            # The next task first: the worker trains while the store writes.
            if waiting:
                worker.give(waiting.pop())
            else:
                del workers[connection]
                worker.dismiss()
        yield message


class _Worker:
    """A process at the other end of a pipe, and the task it has."""

    task: Task

    def __init__(self, device: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, device, threads), daemon=True
        )
        # Ctrl-C reaches the whole group of processes and is this one's to handle: what is ignored
        # here when a worker starts, it ignores from its first instruction on.
        with _interrupts_ignored():
            self.process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        self.task = task
        # If it died, the next receive finds out and says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(task)

    def dismiss(self) -> None:
        """Let it go when it has nothing left to do."""
        self.connection.close()
        self.process.join(_PATIENCE)
        self.stop()

    def stop(self) -> None:
        """End it, whatever it does."""
        self.connection.close()
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def autopsy(self) -> str:
        """How it died, in one sentence."""
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        self.stop()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"the worker process was ended by {name}{hint}"
        return f"the worker process ended with exit code {code}"


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, device: str, threads: int) -> None:
    """What a worker process does: train tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
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
