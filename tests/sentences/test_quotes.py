"""Every quotation stands in its source, word by word. Skipped where the sources are not at hand."""

import re
from pathlib import Path

import pytest

from normlab.sentences.files import sentences

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
FILES = {"A": ("000", "001"), "B": ("002",), "C": ("003",), "D": ("004",)}

pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="the sources' texts are not at hand")


def plain(text: str) -> str:
    """Words alone: without Markdown's marks and links, and with one blank between them."""
    unlinked = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"[*`\\]", "", unlinked).split())


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {
        source: plain(
            " ".join(
                path.read_text(encoding="utf-8")
                for number in numbers
                for path in SEEDS.glob(f"{number}_*.txt")
            )
        )
        for source, numbers in FILES.items()
    }


@pytest.mark.parametrize(
    ("source", "number", "quote"),
    [(source, each.number, each.quote) for source, each in sentences() if each.quote],
)
def test_a_quotation_stands_in_its_source(
    source: str, number: int, quote: str, texts: dict[str, str]
) -> None:
    place = 0
    for part in plain(quote).split(" ... "):
        found = texts[source].find(part, place)
        found = texts[source].find(part) if found < 0 else found
        assert found >= 0, (number, part)
        place = found
