"""The profiles in the guide to performance: whole, and written by their script."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.scripts import script

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def profiles() -> ModuleType:
    return script(DOCS / "profiles.py")


def test_the_page_has_the_whole_output_of_each_command(profiles: ModuleType) -> None:
    outputs = list(profiles.OUTPUT.finditer(profiles.PAGE.read_text(encoding="utf-8")))
    studies = [found[2].split()[1] for found in outputs]
    assert studies == ["mnist-norms", "resnet14-norms"]
    for study, found in zip(studies, outputs, strict=True):
        lines = found[0].splitlines()
        assert lines[1] == "```text"
        assert lines[2].startswith(f"{study}, arm ")
        for row in ("part of a step ", "backward ", "the floor: ", "part of a trial ", "a trial: "):
            assert any(line.startswith(row) for line in lines)


def test_an_output_takes_the_place_of_the_one_before(
    profiles: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- output of: normlab profile x --arm y -->\nold\n<!-- end -->\nb\n")
    ran: list[list[str]] = []

    def run(words: list[str], **_: Any) -> SimpleNamespace:
        ran.append(words[2:])
        return SimpleNamespace(stdout="new  \ntable\n")

    monkeypatch.setattr(profiles, "PAGE", page)
    monkeypatch.setattr(profiles.subprocess, "run", run)
    for _ in range(2):
        profiles.main()
    assert ran == [["normlab", "profile", "x", "--arm", "y"]] * 2
    assert page.read_text() == (
        "a\n<!-- output of: normlab profile x --arm y -->\n```text\nnew\ntable\n```\n"
        "<!-- end -->\nb\n"
    )
