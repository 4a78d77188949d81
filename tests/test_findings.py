"""The findings pages say what their CSV files say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "findings"
PAGES = sorted(path.name for path in FOLDER.glob("source-*.md"))


@pytest.fixture(scope="module")
def derive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive", FOLDER / "derive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_source_has_a_page() -> None:
    assert PAGES == [f"source-{letter}.md" for letter in "abcd"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_its_files_say(name: str, derive: ModuleType) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    parts = derive.PART.findall(text)
    assert {kind for _, kind, *_ in parts} >= {"run", "arms", "claims"}
    assert derive.page_derived(text) == text


@pytest.mark.parametrize("name", PAGES)
def test_a_changed_number_is_found(name: str, derive: ModuleType) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    table = derive.PART.search(text, text.index("<!-- arms")).group(0)
    changed = text.replace(table, table.replace("1", "2"))
    assert derive.page_derived(changed) == text


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_of_a_page_is_there(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("!["):
            assert (FOLDER / line.partition("](")[2].rstrip(")")).is_file(), line


def test_every_file_of_trials_is_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md"))
    for path in FOLDER.glob("*.csv"):
        assert f"<!-- run {path.stem} -->" in pages
