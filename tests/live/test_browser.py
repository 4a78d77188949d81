"""The live page in a browser."""

from __future__ import annotations

import functools
import http.client
import http.server
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.conftest import CHROMIUM
from tests.live.browsing import Seen, Server, process, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytest.importorskip("pytest_playwright", reason="pytest-playwright is not installed")
pytest.importorskip("uvicorn", reason="normlab[live] is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's chromium"),
    pytest.mark.xdist_group("browser"),
]

SCREENSHOTS = os.environ.get("NORMLAB_SCREENSHOTS")
"""A folder for pictures of the pages, for whoever wants to look at them."""
GROWING = """\
question: Does it grow?
base: {data: digits, model: digits-small, epochs: 600, lr: 0.05, batch_size: 64}
factors: {norm: [batch, none]}
seeds: 2
claims:
  - {kind: better, arm: {norm: batch}, over: {norm: none}}
"""

HOSTILE = "it's <img src=x onerror=alert(1)> & 100%2e"
"""The name of a study's folder."""
TRACEBACK = """Traceback (most recent call last):
  File "model.py", line 3, in forward
ValueError: <script>alert("shape")</script> is no shape"""
WHERE = "document.querySelector('details.arm summary').getBoundingClientRect().top"

Entering = Callable[..., "Page"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with a finished study, and a copy whose names are hostile and one trial failed."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    shutil.copytree(finished, folder / "tiny")
    shutil.copytree(finished, folder / HOSTILE)
    with sqlite3.connect(folder / HOSTILE / "store.sqlite") as database:
        (failed,) = database.execute("SELECT id FROM trials ORDER BY id LIMIT 1").fetchone()
        database.execute(
            "UPDATE trials SET state = 'failed', reason = ? WHERE id = ?", (TRACEBACK, failed)
        )
    database.close()
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    with served(runs) as made:
        yield made


@pytest.fixture
def enter(browser: Browser, server: Server) -> Iterator[Entering]:
    """A new browser's first page after it was let in; at its end nothing may have gone wrong."""
    made: list[tuple[BrowserContext, Seen]] = []

    def entering(*, refused: bool = False, **options: Any) -> Page:
        context = browser.new_context(**options)
        made.append((context, Seen(context, refused=refused)))
        page = context.new_page()
        page.goto(server.ticket())
        return page

    yield entering
    for context, seen in made:
        context.close()
        seen.check(server)


def drawn(page: Page, number: int = 1) -> None:
    """Wait until so many figures are drawn."""
    page.wait_for_function(
        "number => document.querySelectorAll('.figure svg.marks').length >= number", arg=number
    )


def vertices(page: Page, name: str) -> int:
    """Points of a figure's lines as they are drawn."""
    found: int = page.evaluate(
        "name => [...document.querySelectorAll(`#drawing-${name} .mark-line path`)]"
        ".map((path) => path.getAttribute('d').match(/[ML]/g).length).reduce((a, b) => a + b, 0)",
        name,
    )
    return found


def epochs(page: Page) -> int:
    return int(page.locator("#part-progress progress").first.get_attribute("value") or 0)


def test_progress_and_curves_grow_during_a_run_and_what_its_reader_did_stays(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "growing.yaml").write_text(GROWING, encoding="utf-8")
    runs = tmp_path / "runs"
    runs.mkdir()
    with process("run", "growing.yaml", cwd=tmp_path), served(runs) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 700})
        seen, page = Seen(context), context.new_page()
        page.goto(server.ticket())
        for _ in range(120):
            if page.locator(".studies a").count():
                break
            page.wait_for_timeout(500)
            page.reload()
        page.get_by_role("link", name="growing").click()
        page.wait_for_function(
            "() => Number(document.querySelector('#part-progress progress')?.value) > 0",
            timeout=60_000,
        )
        page.wait_for_selector("#drawing-accuracy-curves .mark-line path", timeout=60_000)
        before = (epochs(page), vertices(page, "accuracy-curves"))
        # A mark that a reload would lose, and what a reader does to a page.
        page.evaluate("document.body.classList.add('not-reloaded')")
        page.locator("details.arm summary").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)  # until it has scrolled there
        place = page.evaluate(WHERE)
        page.wait_for_function(
            "([epochs, points]) => Number(document.querySelector('progress').value) > epochs &&"
            " [...document.querySelectorAll('#drawing-accuracy-curves .mark-line path')]"
            ".reduce((sum, path) => sum + path.getAttribute('d').match(/[ML]/g).length, 0)"
            " > points",
            arg=before,
            timeout=90_000,
        )
        assert page.locator("body.not-reloaded").count() == 1
        assert page.locator("details.arm[open]").count() == 1
        assert page.evaluate("document.activeElement.matches('details.arm:first-of-type summary')")
        assert abs(page.evaluate(WHERE) - place) < 40
        # Watching is no look: an estimate, and no verdict's word anywhere.
        text = page.locator("main").inner_text()
        assert "In progress: 0 of 2 seeds an arm." in text
        assert not re.search("supported|refuted|inconclusive", text, re.I)
        assert "Running" in page.locator("#part-progress").inner_text()
        context.close()
        seen.check(server)


def test_the_token_lets_one_browser_in(browser: Browser, server: Server) -> None:
    ticket = server.ticket()
    first, second = browser.new_context(), browser.new_context()
    page = first.new_page()
    page.goto(ticket)
    assert page.url == server.url + "/"
    assert page.get_by_role("link", name="tiny").count() == 1
    (cookie,) = first.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""
    other = second.new_page()
    for address in (ticket, f"{server.url}/?token=wrong", server.url, f"{server.url}/study/tiny"):
        answer = other.goto(address)
        assert answer is not None
        assert answer.status == 403
        assert "tiny" not in other.content()
    assert second.cookies() == []
    first.close()
    second.close()


def test_other_names_sites_and_methods_are_refused(
    enter: Entering, browser: Browser, server: Server, tmp_path: Path
) -> None:
    page = enter()
    (cookie,) = page.context.cookies()
    own = f"{cookie['name']}={cookie['value']}"

    def status(method: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request(method, "/study/tiny", headers={"Cookie": own, **headers})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    assert status("GET") == 200
    assert status("GET", Host=f"rebound.test:{server.port}") == 421
    assert status("GET", Origin="http://evil.test") == 403
    assert [status(method) for method in ("POST", "PUT", "DELETE")] == [405] * 3
    # A browser with the cookie that is led here: by another name, and by another site's page.
    site = f"<a href='{server.url}/study/tiny'>go</a><iframe src='{server.url}/'></iframe>"
    (tmp_path / "evil.html").write_text(site, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    context = browser.new_context()
    context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": server.url}])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        other = context.new_page()
        answer = other.goto(f"http://rebound.test:{server.port}/study/tiny")
        assert answer is not None
        assert answer.status == 421
        other.goto(f"http://rebound.test:{evil.server_port}/evil.html")
        answers: list[tuple[str, int]] = []
        other.on("response", lambda found: answers.append((found.url, found.status)))
        other.get_by_role("link", name="go").click()
        other.wait_for_url("**/study/tiny")
        assert (f"{server.url}/study/tiny", 403) in answers
        assert "Does" not in other.content()
        evil.shutdown()
    context.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_ten_pages_at_once_all_show_the_study_and_all_go_on_asking(
    enter: Entering, server: Server
) -> None:
    first = enter()
    pages = [first.context.new_page() for _ in range(10)]
    asked = [0] * len(pages)

    def counting(at: int) -> Callable[[Any], None]:
        def count(answer: Any) -> None:
            if answer.url.endswith("/progress"):
                assert answer.status in (200, 304)
                asked[at] += 1

        return count

    for at, page in enumerate(pages):
        page.on("response", counting(at))
        page.goto(f"{server.url}/study/tiny", wait_until="commit")
    for page in pages:
        drawn(page, 3)
    for _ in range(60):
        if min(asked) > 0:
            break
        first.wait_for_timeout(250)
    assert min(asked) > 0


def test_everything_can_be_done_with_the_keyboard(enter: Entering, server: Server) -> None:
    page = enter()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert page.evaluate(style) != "none"
                return
        raise AssertionError(f"the keyboard does not reach {selector}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to("a[href='/study/tiny']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/study/tiny")
    drawn(page, 3)
    tab_to(".scroll[role=region]")
    tab_to("details.arm summary")
    page.keyboard.press("Enter")
    assert page.locator("details.arm[open] table").count() >= 1
    page.goto(f"{server.url}/compare?study=tiny")
    for label in ("batch", "group"):
        tab_to(f"input[name=arm][value='norm={label}'], input[name=arm][value='{label}']")
        page.keyboard.press("Space")
    tab_to("input[name=metric][value=test_loss]")
    page.keyboard.press("Space")
    tab_to("button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_url("**metric=test_loss*")
    assert page.locator("input[name=arm]:checked").count() == 2
    drawn(page, page.locator("input[name=metric]:checked").count())


def test_an_address_shows_the_same_comparison_again(enter: Entering, server: Server) -> None:
    page = enter(refused=True)
    address = f"{server.url}/compare?study=tiny&arm=batch&metric=test_loss&metric=train_accuracy"
    page.goto(address)
    drawn(page, 2)
    chosen = {box.get_attribute("value") for box in page.locator("input:checked").all()}
    assert chosen == {"batch", "test_loss", "train_accuracy"}
    arms = page.evaluate(
        "[...document.querySelectorAll('[id^=spec-]')].map((spec) => [...new Set("
        "Object.values(JSON.parse(spec.textContent).datasets).flat()"
        ".map((row) => row.arm).filter(Boolean))])"
    )
    assert arms == [["batch"], ["batch"]]
    answer = page.goto(f"{server.url}/compare?study=tiny&arm=bach")
    assert answer is not None
    assert answer.status == 404
    assert "did you mean 'batch'?" in page.locator("[role=alert]").inner_text().lower()


def test_hostile_names_are_text(enter: Entering, server: Server) -> None:
    page = enter()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.get_by_role("link", name=HOSTILE).click()
    page.wait_for_url(f"**/study/{quote(HOSTILE, safe='')}")
    drawn(page, 3)
    assert page.locator("nav [aria-current]").inner_text() == HOSTILE
    failure = page.locator("details.failure").first
    assert '<script>alert("shape")</script> is no shape' in failure.inner_text()
    failure.locator("summary").click()
    assert "Traceback (most recent call last)" in failure.locator("pre").inner_text()
    assert page.get_by_text("<b>exploding</b>").count() > 0
    assert page.locator("main b, main img").count() == 0
    page.get_by_role("link", name="Compare arms").click()
    assert page.locator("h1").inner_text() == f"Compare arms of {HOSTILE}"


def test_a_lost_connection_is_said_and_found_again(enter: Entering, server: Server) -> None:
    page = enter(refused=True)
    page.goto(f"{server.url}/study/{quote(HOSTILE, safe='')}")
    page.route("**/progress", lambda route: route.fulfill(status=500, body="no"))
    page.wait_for_selector("#connection:not([hidden])")
    assert "Connection lost" in page.locator("#connection").inner_text()
    page.unroute("**/progress")
    page.wait_for_selector("#connection", state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_and_can_be_read(
    enter: Entering,
    server: Server,
    width: int,
    scheme: str,
    tmp_path: Path,
) -> None:
    page = enter(refused=True, viewport={"width": width, "height": 800}, color_scheme=scheme)
    hostile = quote(HOSTILE, safe="")
    pages = {
        "index": "/",
        "study": f"/study/{hostile}",
        "compare": f"/compare?study={hostile}&arm=batch&metric=test_accuracy&metric=test_loss",
        "refused": "/study/gone",
    }
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    for name, path in pages.items():
        page.goto(server.url + path)
        drawn(page, {"study": 3, "compare": 2}.get(name, 0))
        wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
        assert max(page.evaluate(wide)) <= width, name
        page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
        ground, ink = page.evaluate(
            "['backgroundColor', 'color'].map((key) => getComputedStyle(document.body)[key])"
        )
        if name != "refused":
            assert (light(ground) > light(ink)) == (scheme == "light")


def light(color: str) -> float:
    """A color's brightness, of `rgb(r, g, b)`."""
    return sum(map(float, re.findall(r"[\d.]+", color)[:3]))
