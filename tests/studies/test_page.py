"""The page of bundled studies names every one with its files' facts."""

from pathlib import Path

import pytest

from normlab.study.files import bundled

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_study_is_on_the_page(name: str) -> None:
    assert f"`{name.removesuffix('-controlled')}`" in PAGE


def test_the_page_names_no_other_study() -> None:
    named = {
        word
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for word in line.split("`")[1:2]
    }
    studies = {word for word in named if "-" in word}
    assert studies <= set(bundled())
