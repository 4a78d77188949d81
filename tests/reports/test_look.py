"""How the report looks: in the dark, in a narrow window, and for who has only a keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from normlab.figures.effects import VERDICTS
from normlab.figures.style import COLORS, GREY
from normlab.reports import write_report
from normlab.reports.html import static_files
from tests.conftest import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

in_browser = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's chromium"),
    pytest.mark.xdist_group("browser"),
]


def luminance(color: str) -> float:
    """Relative luminance of a color `#rrggbb` as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def in_the_dark() -> tuple[dict[str, str], str]:
    """What the dark page says of its own colors, and the rules for figures."""
    dark = static_files()["report.css"].split("(prefers-color-scheme: dark)")
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", dark[1])), dark[2]


@pytest.mark.parametrize("kind", ["fill", "stroke"])
@pytest.mark.parametrize("color", sorted({*COLORS, GREY, *(one for one, _ in VERDICTS.values())}))
def test_every_color_of_a_series_can_be_seen_on_the_dark_page(color: str, kind: str) -> None:
    page, rules = in_the_dark()
    named = re.findall(r"([^{}]+)\{ (fill|stroke): (#\w{6}); \}", rules)
    changed = {
        old: new
        for selectors, of, new in named
        for old in re.findall(rf'svg \[{kind}="([^"]+)"\]', selectors)
        if of == kind
    }
    assert contrast(changed.get(color, color), page["ground"]) >= 3


def test_text_can_be_read_on_both_grounds() -> None:
    light = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", static_files()["report.css"].split("@")[0]))
    light["ground"] = "#ffffff"
    for page in (light, in_the_dark()[0]):
        for ink in ("ink", "soft", "link", "yes", "no"):
            for ground in ("ground", "tint"):
                assert contrast(page[ink], page[ground]) >= 4.5, (ink, ground)
        assert contrast(page["ink"], page["warn"]) >= 4.5


@pytest.fixture(scope="module")
def report(finished: Path) -> str:
    return write_report(finished).as_uri()


@pytest.fixture
def narrow(browser: Browser, report: str) -> Iterator[Page]:
    """The report in a dark window of a telephone's width."""
    pytest.importorskip("pytest_playwright", reason="pytest-playwright is not installed")
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page = context.new_page()
    page.goto(report)
    page.wait_for_function("document.querySelectorAll('.figure svg.marks').length === 3")
    yield page
    context.close()


class TestInABrowser:
    """What only a browser can tell."""

    pytestmark = in_browser

    def test_a_narrow_window_does_not_scroll_sideways_but_its_boxes_do(self, narrow: Page) -> None:
        assert narrow.evaluate("document.documentElement.scrollWidth") == 400
        lead = narrow.locator(".figure.lead svg.marks")
        box = narrow.locator(".figure.lead")
        assert lead.evaluate("svg => svg.getBoundingClientRect().width") <= box.evaluate(
            "box => box.clientWidth"
        )
        table = narrow.get_by_role("region", name="Table of arms")
        assert table.evaluate("box => box.scrollWidth > box.clientWidth")
        table.focus()
        narrow.keyboard.press("ArrowRight")
        narrow.wait_for_function("document.activeElement.scrollLeft > 0")

    def test_a_wide_window_gives_the_figure_its_whole_width_again(self, narrow: Page) -> None:
        width = "document.querySelector('.figure.lead').drawing.view.width()"
        assert narrow.evaluate(width) < 300
        narrow.set_viewport_size({"width": 1280, "height": 800})
        narrow.wait_for_function(f"{width} > 500")

    def test_figures_are_light_on_dark_and_saved_as_dark_on_light(self, narrow: Page) -> None:
        label = narrow.locator(".figure .role-axis-label text").first
        assert label.evaluate("text => getComputedStyle(text).fill") == "rgb(227, 232, 239)"
        ground = "svg => getComputedStyle(svg).backgroundColor"
        assert narrow.locator(".figure svg").first.evaluate(ground) == "rgba(0, 0, 0, 0)"
        narrow.get_by_role("link", name="Save as SVG").first.focus()
        with narrow.expect_download() as saved:
            narrow.keyboard.press("Enter")
        text = saved.value.path().read_text(encoding="utf-8")
        assert 'fill="#000"' in text
        assert "white" in text
        assert "#e3e8ef" not in text

    def test_the_first_key_leads_past_the_top(self, narrow: Page) -> None:
        narrow.keyboard.press("Tab")
        assert narrow.evaluate("document.activeElement.textContent") == "Skip to the study"
        narrow.keyboard.press("Enter")
        assert narrow.evaluate("document.activeElement.id") == "main"
