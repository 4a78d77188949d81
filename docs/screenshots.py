"""Take the pictures of reports and of the live page in `docs/images` anew.

    python docs/screenshots.py            # all of them; trains for about five minutes
    python docs/screenshots.py live.png   # some

Look at every one before you commit it. It needs playwright and Chromium (see CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
OPEN = """
question: Does BatchNorm need larger batches than GroupNorm on 8x8 digits?
base: {data: digits, model: digits-small, epochs: 6, lr: 0.05}
factors:
  norm: [none, batch, {kind: group, channels_per_group: 4}]
  batch_size: [4, 64]
seeds: 5
analysis: {margin: 0.5}
claims:
  - {kind: better, name: BatchNorm helps, arm: {norm: batch}, over: {norm: none}}
  - {kind: not_better, name: no gain at 4, arm: {norm: batch, batch_size: 4}, over: {norm: group, batch_size: 4}}
  - {kind: interaction, name: gains with the batch, arm: {norm: batch}, over: {norm: group},
     at_levels: {batch_size: 64}, than_at: {batch_size: 4}}
  - {kind: equal, name: the same at 64, arm: {norm: batch, batch_size: 64}, to: {norm: group, batch_size: 64}}
quick:
  seeds: 2
  set: {epochs: 1, data.limit: 5}
"""
NORMLAB = (sys.executable, "-m", "normlab")


def trained(folder: Path, *words: str) -> None:
    subprocess.run([*NORMLAB, "run", *words], cwd=folder, check=True)


def report(browser: Browser, folder: Path, study: str, image: str, height: int) -> None:
    page = opened(browser, height)
    page.goto((folder / "runs" / study / "report.html").as_uri())
    page.wait_for_selector(".figure svg, .figure canvas")
    page.screenshot(path=IMAGES / image)


def opened(browser: Browser, height: int) -> Page:
    return browser.new_page(viewport={"width": 1280, "height": height})


def demo(browser: Browser, folder: Path) -> None:
    trained(folder, "digits-norms")
    report(browser, folder, "digits-norms", "report.png", 1750)


def answered(browser: Browser, folder: Path) -> None:
    trained(folder, "digits-norms")
    report(browser, folder, "digits-norms", "report-answered.png", 900)


def still_open(browser: Browser, folder: Path) -> None:
    (folder / "open.yaml").write_text(OPEN, encoding="utf-8")
    trained(folder, "open.yaml")
    report(browser, folder, "open", "report-open.png", 1000)


def rehearsal(browser: Browser, folder: Path) -> None:
    (folder / "rehearsed.yaml").write_text(OPEN, encoding="utf-8")
    trained(folder, "rehearsed.yaml", "--quick")
    report(browser, folder, "rehearsed", "report-rehearsal.png", 1000)


def live(browser: Browser, folder: Path) -> None:
    """A study a good third of which is done, and two that have ended."""
    text = subprocess.run(
        [*NORMLAB, "show", "study", "digits-norms"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    (folder / "live.yaml").write_text(text.replace("seeds: 3", "seeds: 30"), encoding="utf-8")
    run = subprocess.Popen([*NORMLAB, "run", "live.yaml"], cwd=folder)
    try:
        until(lambda: finished(folder) >= 60)
        with serving(folder) as address:
            page = opened(browser, 1500)
            page.goto(address)
            page.get_by_role("link", name="live").first.click()
            page.wait_for_selector(".figure svg, .figure canvas", timeout=120_000)
            page.screenshot(path=IMAGES / "live.png")
    finally:
        run.terminate()
        run.wait()


def finished(folder: Path) -> int:
    return len(list((folder / "runs" / "live").glob("artifacts/*/weights.pt")))


def until(there: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.5)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address, with its token, of the folder's live page."""
    server = subprocess.Popen(
        [*NORMLAB, "serve"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "?token=" in line)
        yield next(word for word in line.split() if "?token=" in word)
    finally:
        server.terminate()
        server.wait()


PICTURES: dict[str, Callable[[Browser, Path], None]] = {
    "report.png": demo,
    "report-answered.png": answered,
    "report-open.png": still_open,
    "report-rehearsal.png": rehearsal,
    "live.png": live,
}


def main(names: list[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in names or PICTURES:
            PICTURES[name](browser, Path(folder))
            print(f"taken: {IMAGES / name}")


if __name__ == "__main__":
    main(sys.argv[1:])
