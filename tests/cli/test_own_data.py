"""Images by import path at the command line: planned, trusted, refused, reported."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run
from tests.study.own_images import BASE, edit, forget, lie_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    lie_in(tmp_path, monkeypatch)
    yield tmp_path
    forget(monkeypatch)


def test_images_that_differ_from_call_to_call_are_refused_by_the_plan(
    folder: Path,
    normlab: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit(folder / "own_images.py", "rng(seed)", "rng()", monkeypatch)
    write(folder)
    code, out, err = normlab("plan", "s.yaml", "--trust", "own_images")
    assert (code, out) == (2, "")
    assert "returned other images when it was called again" in err
    assert "Traceback" not in err
    assert not (folder / "runs").exists()


def write(folder: Path, **rest: Any) -> None:
    values = {"question": "?", "base": BASE, "seeds": 1, **rest}
    (folder / "s.yaml").write_text(json.dumps(values))


def test_the_plan_says_what_is_there(folder: Path, normlab: Run) -> None:
    write(folder)
    code, out, _ = normlab("plan", "s.yaml", "--trust", "own_images", "--set", "data.limit=9")
    assert code == 0
    lines = out.splitlines()
    assert "data own_images:load: 3 classes, 27 training and 20 test images of 8x8, grey" in lines
    assert "classes: (training/test) low 9/7, middle 9/7, high 9/6" in lines
    assert "the code of own_images is part of the trials' ids (base)" in lines
    code, out, _ = normlab("plan", "s.yaml", "--trust", "own_images", "--json")
    (found,) = json.loads(out)["data"]
    assert [each["name"] for each in found["classes"]] == ["low", "middle", "high"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("return {", "return 3, {"), ("90 *", "900 *"), ("import numpy", "import numpi")],
)
def test_a_mistake_ends_the_command_with_2_and_no_traceback(
    folder: Path,
    normlab: Run,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
) -> None:
    edit(folder / "own_images.py", old, new, monkeypatch)
    write(folder)
    for command in ("plan", "run"):
        code, out, err = normlab(command, "s.yaml", "--trust", "own_images")
        assert (code, out) == (2, "")
        assert err.startswith("normlab: arm 'base': data 'own_images:load'")
        assert "Traceback" not in err


def test_nobody_s_word_but_a_trusted_file_s_or_the_command_s_imports_it(
    folder: Path,
    normlab: Run,
) -> None:
    write(folder)
    code, _, err = normlab("plan", "s.yaml")
    assert (code, "own_images (" in err) == (2, True)
    assert not (folder / "CALLS").exists()
    write(folder, base={**BASE, "data": "digits"})
    assert normlab("plan", "s.yaml", "--set", "data=own_images:load")[0] == 0
    write(folder)
    assert normlab("trust", "s.yaml")[0] == 0
    assert normlab("plan", "s.yaml")[0] == 0


def test_a_report_runs_none_of_its_code_and_names_its_classes(
    folder: Path,
    normlab: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = [{"kind": "confusion"}, {"kind": "misclassified", "arm": {"norm": "none"}}]
    write(folder, factors={"norm": ["none", "layer"]}, figures=figures)
    command = ("run", "s.yaml", "--trust", "own_images", "--workers", "1")
    code, _, err = normlab(*command)
    assert code == 0, err
    page = (folder / "runs" / "s" / "report.html").read_text()
    assert "middle" in page
    assert "the images of 'own_images:load' are not shown" in page.replace("&#39;", "'")
    forget(monkeypatch)
    (folder / "own_images.py").write_text("raise SystemExit('imported')\n")
    for words in ("status s", "report s", "claims s", "show study s.yaml"):
        assert normlab(*words.split())[0] == 0
    assert "own_images" not in sys.modules
    assert "middle" in (folder / "runs" / "s" / "report.html").read_text()
