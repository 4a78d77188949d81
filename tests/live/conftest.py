"""A folder of studies made by hand, and the pages as a browser that is in, or is not, gets them."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from normlab.errors import NormlabError, UserError
from normlab.live.access import Address, Keys
from normlab.live.app import Pages, guarded
from normlab.live.drawing import body, compared
from normlab.live.rendering import Made
from normlab.live.watching import Watcher
from tests.made_stores import fill, plan

ADDRESS = Address("127.0.0.1", 8321)


class Drawer:
    """Draws in this process, counts, and says that it took as long as a test wants."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.comparisons = 0
        self.seconds = 1.0
        self.fails: str | None = None
        self.closed = 0

    def body(self, folder: Path) -> Made:
        self.bodies.append(folder.name)
        if self.fails:
            raise NormlabError(self.fails)
        return Made(content=body(folder), seconds=self.seconds)

    def compare(self, folder: Path, arms: Sequence[str], metrics: Sequence[str]) -> Made:
        self.comparisons += 1
        return Made(content=compared(folder, arms, metrics), seconds=self.seconds)

    def static(self) -> Made:
        if self.fails:
            raise UserError(self.fails)
        return Made(content={"vega.js": "1;"}, seconds=0.1)

    def close(self) -> None:
        self.closed += 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Loop:
    """A loop in a thread of its own: where a browser was driven before, this one has a loop."""

    def __init__(self) -> None:
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._thread.submit(self._runner.run, work).result()

    def close(self) -> None:
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


class Browser:
    """Asks an application in the loop that its server would run in, and keeps cookies."""

    def __init__(self, app: ASGIApp, runner: Loop) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321")
        self._runner = runner

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        found: httpx.Response = self._runner.run(self._client.request(method, path, **options))
        return found

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)


class Site:
    """A server without a socket, and browsers."""

    def __init__(self, runs: Path, runner: Loop) -> None:
        self.runs, self.runner = runs, runner
        self.clock, self.drawer, self.keys = Clock(), Drawer(), Keys()
        self.watcher = Watcher(runs, self.drawer, self.clock)
        self.pages = Pages(self.watcher, first_drawing=60.0)  # also on a loaded machine
        self.entered = 0
        self.app = guarded(self.pages, ADDRESS, self.keys, self._enter)

    def _enter(self) -> None:
        self.entered += 1

    def browser(self, *, let_in: bool = True) -> Browser:
        browser = Browser(self.app, self.runner)
        if let_in:
            assert browser.get(f"/?token={self.keys.token}").status_code == 303
        return browser

    def drawn(self) -> None:
        """Let what is being drawn be drawn."""
        self.runner.run(self._drawn())

    async def _drawn(self) -> None:
        for watched in self.watcher._watched.values():
            for kept in (watched.drawing, *watched.compared.values()):
                if kept.task is not None:
                    await kept.task


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two studies, each with 2 arms x 3 seeds, of which two trials are finished."""
    folder = tmp_path / "the runs"
    for name in ("first", "second"):
        fill(folder / name, plan(range(3), name=name), [("batch", 0), ("none", 1)])
    return folder


@pytest.fixture
def site(runs: Path) -> Iterator[Site]:
    with closing(Loop()) as runner:
        made = Site(runs, runner)
        yield made
        made.watcher.close()


@pytest.fixture
def viewer(site: Site) -> Browser:
    return site.browser()
