"""The studies of a folder as they are now, each read and drawn once for all open pages.

What a page asks for is in memory, or is made once for all that ask meanwhile. A study is looked at
when a page asks and the last look is `EVERY` seconds old; its report is drawn when a page asks, the
store has changed, and `BUDGET` times the seconds that the last drawing took have passed: however
large a study is, its drawings take at most that share of a core.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from markupsafe import escape

from normlab.errors import NormlabError
from normlab.live.looking import Looker, Progress
from normlab.live.rendering import Made
from normlab.live.words import words_of
from normlab.store.paths import DATABASE

EVERY = 2.0
"""Seconds between two looks at a study that pages show."""
BUDGET = 40.0
"""A study is drawn again after so many times the seconds of a core that the last drawing took."""
_MOST_COMPARED = 32
_LONGEST_NAME = 255


class Draws(Protocol):
    """What draws; see `normlab.live.rendering.Renderer`."""

    def body(self, folder: Path) -> Made:
        """A report's body."""

    def compare(self, folder: Path, arms: Sequence[str], metrics: Sequence[str]) -> Made:
        """Figures of some arms."""

    def static(self) -> Made:
        """The script that draws a report's figures in a browser, by its name."""

    def close(self) -> None:
        """End."""


@dataclass(frozen=True)
class Page:
    """Something that is served, and how it is told from what was there before.

    Attributes:
        content: As text.
        version: A digest of it, and of what else a browser is to notice.
    """

    content: str
    version: str

    @property
    def etag(self) -> str:
        """The version as the header `ETag` has it."""
        return f'"{self.version}"'

    @classmethod
    def of(cls, content: str, *more: str) -> Page:
        """With a version made of the content, and of what else a browser is to notice."""
        text = "\0".join((content, *more))
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16)
        return cls(content, digest.hexdigest())


@dataclass(frozen=True)
class Trouble:
    """Why there is nothing to show of a study, in words."""

    name: str
    words: str


@dataclass
class _Kept:
    """A drawing, the version of the store that it shows, and when the next one may begin."""

    made: object = None
    trouble: str = ""
    version: str | None = None
    next_at: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def is_there(self) -> bool:
        return self.version is not None


@dataclass
class Watched:
    """A study that pages show.

    Attributes:
        looker: Reads its store.
        found: What the last look found.
        body: Its report, once it is drawn.
    """

    looker: Looker
    found: Progress | Trouble | None = None
    body: Page | None = None
    next_look: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    drawing: _Kept = field(default_factory=_Kept)
    compared: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], _Kept] = field(
        default_factory=OrderedDict
    )

    @property
    def version(self) -> str:
        """Of what there is to draw."""
        return self.found.version if isinstance(self.found, Progress) else repr(self.found)


Found = TypeVar("Found")


class Watcher:
    """All studies of a folder. Every method belongs to the thread of the event loop.

    Args:
        runs: The folder that holds a folder for each study.
        draws: The process that draws.
        clock: Seconds that only grow.
    """

    def __init__(
        self, runs: Path, draws: Draws, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs, self._draws, self._clock = runs, draws, clock
        self._watched: dict[str, Watched] = {}
        self._static_task: asyncio.Task[dict[str, Page]] | None = None
        self._reader = ThreadPoolExecutor(1, "normlab-reads")
        self._drawer = ThreadPoolExecutor(1, "normlab-draws")

    def close(self) -> None:
        """End the process that draws, and wait for nothing."""
        for threads in (self._reader, self._drawer):
            threads.shutdown(wait=False, cancel_futures=True)
        self._draws.close()

    async def names(self) -> list[str]:
        """The studies whose folders hold a store, in order.

        Raises:
            OSError: The folder of the runs cannot be read.
        """
        return await self._in(self._reader, studies_in, self._runs)

    async def studies(self) -> list[Watched]:
        """All studies as they are now, in the order of their names.

        Raises:
            OSError: The folder of the runs cannot be read.
        """
        return [await self._seen(name) for name in await self.names()]

    async def study(self, name: str) -> Watched | None:
        """A study as it is now; None where there is none of that name and never was.

        Raises:
            OSError: The folder of the runs cannot be read.
        """
        if name not in self._watched and name not in await self.names():
            return None
        return await self._seen(name)

    async def _seen(self, name: str) -> Watched:
        """A study that is there, or was, after a look at it where the last one is too old."""
        watched = self._watched.setdefault(name, Watched(Looker(self._runs / name)))
        if self._clock() >= watched.next_look:
            async with watched.lock:
                if self._clock() >= watched.next_look:  # nobody looked meanwhile
                    found, took = await self._in(self._reader, _looked, watched.looker)
                    watched.found = found
                    watched.next_look = self._clock() + max(EVERY, BUDGET * took)
        return watched

    def draw(self, watched: Watched) -> None:
        """Begin to draw a study's report, if it is time to."""
        kept, version = watched.drawing, watched.version
        if isinstance(watched.found, Trouble) or not self._is_due(kept, version):
            return

        async def drawn() -> None:
            folder = watched.looker.folder
            await self._make(kept, version, folder, lambda: self._draws.body(folder))
            content = kept.made if isinstance(kept.made, str) else ""
            watched.body = Page.of(content or _said(kept.trouble))

        kept.task = asyncio.create_task(drawn())

    async def body(self, watched: Watched, seconds: float) -> Page | None:
        """A study's report, waited for so long where none was drawn yet."""
        self.draw(watched)
        task = watched.drawing.task
        if watched.body is None and task is not None:
            await asyncio.wait({task}, timeout=seconds)
        return watched.body

    async def compare(
        self, watched: Watched, arms: Sequence[str], metrics: Sequence[str]
    ) -> tuple[list[dict[str, object]], str]:
        """Figures that compare arms, and why there are none, in words."""
        key = (tuple(arms), tuple(metrics))
        kept = watched.compared.setdefault(key, _Kept())
        watched.compared.move_to_end(key)
        while len(watched.compared) > _MOST_COMPARED:
            watched.compared.popitem(last=False)
        version, folder = watched.version, watched.looker.folder
        if self._is_due(kept, version):
            kept.task = asyncio.create_task(
                self._make(
                    kept, version, folder, lambda: self._draws.compare(folder, arms, metrics)
                )
            )
        if not kept.is_there and kept.task is not None:
            await asyncio.shield(kept.task)
        return (kept.made if isinstance(kept.made, list) else []), kept.trouble

    def warm(self) -> None:
        """Have the process that draws started, which takes seconds, before a study is opened."""
        task = self._static_task
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            self._static_task = asyncio.create_task(self._read_static())
            # Whoever asks for a file is told why there is none; nobody may ever ask.
            self._static_task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def static(self) -> dict[str, Page]:
        """What the process that draws has of the report's scripts, by name.

        Raises:
            NormlabError: The process that draws has ended; another one is started the next time.
        """
        self.warm()
        assert self._static_task is not None
        return await asyncio.shield(self._static_task)

    async def _read_static(self) -> dict[str, Page]:
        made = await self._in(self._drawer, self._draws.static)
        return {name: Page.of(text) for name, text in made["content"].items()}

    def _is_due(self, kept: _Kept, version: str) -> bool:
        is_at_work = kept.task is not None and not kept.task.done()
        return not is_at_work and kept.version != version and self._clock() >= kept.next_at

    async def _make(
        self, kept: _Kept, version: str, folder: Path, make: Callable[[], Made]
    ) -> None:
        """Have something drawn, and note when it may be drawn again."""
        took = EVERY / BUDGET
        try:
            made = await self._in(self._drawer, make)
            kept.made, kept.trouble, took = made["content"], "", max(took, made["seconds"])
        except NormlabError as error:
            kept.made, kept.trouble = None, words_of(error, folder)
        kept.version, kept.next_at = version, self._clock() + BUDGET * took

    @staticmethod
    async def _in(
        threads: ThreadPoolExecutor, function: Callable[..., Found], *given: object
    ) -> Found:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *given)


def _looked(looker: Looker) -> tuple[Progress | Trouble, float]:
    """A look, and the seconds of a core that it took.

    It never fails: a store may be anything, and be gone the next moment.
    """
    began = time.thread_time()
    found: Progress | Trouble
    try:
        found = looker.look()
    except Exception as error:
        words = words_of(error, looker.folder)
        if not (looker.folder / DATABASE).exists():
            words = "The study is no longer there."
        found = Trouble(looker.folder.name, words)
    return found, time.thread_time() - began


def _said(words: str) -> str:
    return f'<section id="trouble"><p>{escape(words)}</p></section>'


def studies_in(runs: Path) -> list[str]:
    """Names of the folders that hold a store, in order; none that a link leads to.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(runs) as entries:
        return sorted(
            entry.name
            for entry in entries
            if _is_text(entry.name)
            and entry.is_dir(follow_symlinks=False)
            and _is_store(Path(entry.path) / DATABASE)
        )


def _is_store(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size > 0
    except OSError:
        return False


def _is_text(name: str) -> bool:
    """Whether an address can name it: bytes that are no UTF-8 cannot be written in one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= _LONGEST_NAME
