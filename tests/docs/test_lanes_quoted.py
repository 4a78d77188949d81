"""The tables of lanes in the pages are what the benchmark's stored rows say."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"<!-- lanes: (.+?) -->\n(.*?)\n?<!-- end -->", re.DOTALL)
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("lanes_*.json"))


@pytest.fixture(scope="module")
def lanes() -> Iterator[ModuleType]:
    """The benchmark."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("lanes")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("page", ["benchmarks/README.md", "docs/performance.md"])
def test_the_pages_have_the_tables_of_the_rows(lanes: ModuleType, page: str) -> None:
    made = lanes.tables(lanes.kept(RESULTS))
    places = PLACE.findall((ROOT / page).read_text("utf-8"))
    assert places
    for name, text in places:
        assert text == made[name], name


def row(**more: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "model": "m",
        "norm": "batch",
        "batch": 32,
        "refusal": "",
        "torch_ms": 10.0,
        "ms": {"1": 50.0, "16": 4.0},
        "ratio": {"1": 0.2, "16": 2.5},
        "mb": 1200,
    }
    return {**plain, **more}


def test_rows_of_a_model_become_one_range(lanes: ModuleType) -> None:
    other = row(norm="layer", ratio={"1": 0.2, "16": 3.14}, mb=900)
    *_, line = lanes.short_table([row(), other], ["16", "1"])
    assert line == "| m | 10 | 2.5 to 3.1 | 0.2 | 900 to 1,200 | yes |"


def test_what_was_not_timed_stands_with_its_reason(lanes: ModuleType) -> None:
    wide = {"model": "big", "norm": "batch", "batch": 64, "refusal": "too wide", "least_mb": 20_000}
    assert len(list(lanes.whole_table([row(), wide], ["16", "1"]))) == 3
    *_, line = lanes.refused_table([row(), wide])
    assert line == ("| big | batch; 64 | too wide; a group's maps would take 20 GB and more |")
