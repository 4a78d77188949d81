"""All images of a set decoded, on every core, with a progress bar."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from normlab.data.dataset import Images
from normlab.data.images.options import Options
from normlab.data.images.scan import Item
from normlab.errors import NormlabError, UserError

if TYPE_CHECKING:
    from normlab.data.images.worker import Answer, Job

_ALONE = 400  # images, and bytes of theirs, that are decoded sooner than a process has started
_ALONE_BYTES = 2_000_000
_CHUNK = 256


class Outcome(NamedTuple):
    """What became of the images.

    Attributes:
        hashes: SHA-256 of every image's bytes.
        sizes: Width and height of every image before resizing; 0 of a broken one.
        broken: Why by row, for those that are no readable image; their pixels are undefined.
    """

    hashes: list[str]
    sizes: list[tuple[int, int]]
    broken: dict[int, str]


def decode_all(items: Sequence[Item], options: Options, images: Images, target: Path) -> Outcome:
    """Decode every item into its row.

    Args:
        items: The images.
        options: How.
        images: Shape (N, C, H, W), mapped from `target`.
        target: The array's file, which the worker processes map as well.

    Raises:
        UserError: A file cannot be opened or read.
    """
    jobs: list[Job] = [(row, i.path, i.offset, i.size) for row, i in enumerate(items)]
    few = len(jobs) <= _ALONE and sum(item.size for item in items) <= _ALONE_BYTES
    count = 1 if few else min(cores(), len(jobs))
    size = max(1, min(_CHUNK, len(jobs) // (8 * count)))
    chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    hashes = [""] * len(jobs)
    sizes = [(0, 0)] * len(jobs)
    broken: dict[int, str] = {}
    unreadable: dict[int, str] = {}
    with _bar(0 if few else len(jobs)) as advance, _workers(count, options, images, target) as do:
        for number, answer in do(chunks):
            start = number * size
            hashes[start : start + len(answer.hashes)] = answer.hashes
            sizes[start : start + len(answer.sizes)] = [(w, h) for w, h in answer.sizes]
            broken.update(answer.broken)
            unreadable.update(answer.unreadable)
            advance(len(chunks[number]))
    if unreadable:
        row, reason = min(unreadable.items())
        raise UserError(
            f"{len(unreadable)} of {len(items)} files cannot be read, "
            f"the first is {items[row].path}: {reason}"
        )
    return Outcome(hashes, sizes, dict(sorted(broken.items())))


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


Doing = Callable[[Sequence[Sequence["Job"]]], Iterator[tuple[int, "Answer"]]]


@contextmanager
def _workers(count: int, options: Options, images: Images, target: Path) -> Iterator[Doing]:
    """Something that does chunks, here or in `count` processes, in whatever order they finish."""
    from normlab.data.images.worker import work

    if count == 1:
        yield lambda chunks: ((n, work(jobs, options, images)) for n, jobs in enumerate(chunks))
        return
    with ThreadPoolExecutor(count) as threads, ExitStack() as stack:
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(count):
            idle.put(stack.enter_context(_Worker(options, target)))

        def one(number: int, jobs: Sequence[Job]) -> tuple[int, Answer]:
            worker = idle.get()
            try:
                return number, worker.ask(jobs)
            finally:
                idle.put(worker)

        def do(chunks: Sequence[Sequence[Job]]) -> Iterator[tuple[int, Answer]]:
            waiting: set[Future[tuple[int, Answer]]] = {
                threads.submit(one, number, jobs) for number, jobs in enumerate(chunks)
            }
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                for future in waiting:
                    future.cancel()

        yield do


class _Worker:
    """A process at the other end of two pipes."""

    def __init__(self, options: Options, target: Path) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed on exit
        paths = [path or str(Path.cwd()) for path in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "normlab.data.images.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,  # the C libraries below Pillow complain there
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            text=True,
            encoding="ascii",
        )
        self._say([str(target), *options])

    def ask(self, jobs: Sequence[Job]) -> Answer:
        """Have a chunk done."""
        from normlab.data.images.worker import Answer

        self._say(jobs)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip().splitlines()
            raise NormlabError(
                f"a process that decodes images ended with code {self.process.wait()} between "
                f"{jobs[0][1]} and {jobs[-1][1]}: {said[-1] if said else 'no message'}"
            )
        return Answer(*json.loads(line))

    def _say(self, what: object) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer tells

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, for the process that the user started; none for a total of 0."""
    if not total or multiprocessing.parent_process() is not None:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("decoding images", total=total)
        yield lambda count: progress.advance(task, count)
