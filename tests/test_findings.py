"""The findings pages say what their CSV files say."""

import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from typer.testing import CliRunner

from normlab.cli import app
from normlab.errors import UserError
from normlab.study.released import released
from tests.scripts import script

FOLDER = Path(__file__).parents[1] / "docs" / "findings"
PAGES = sorted(path.name for path in FOLDER.glob("source-*.md"))


@pytest.fixture(scope="module")
def derive() -> ModuleType:
    return script(FOLDER / "derive.py")


def test_every_source_has_a_page() -> None:
    assert PAGES == [f"source-{letter}.md" for letter in "abcd"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_its_files_say(name: str, derive: ModuleType) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    parts = derive.PART.findall(text)
    assert {kind for _, kind, *_ in parts} >= {"run", "arms"}
    assert derive.page_derived(text) == text


def test_candidates_are_those_of_the_studies_recipes(derive: ModuleType) -> None:
    table = derive.candidates_part("A", "resnet50-final")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    factors = {row[0]: row[1:] for row in cells[2:]}
    said, tried, studies, final = factors["BatchNorm layers of a block"]
    assert (tried, final) == ("0, 1, 2, 3", "0 (1), 2 (7)")
    assert "Number of Layers BN is Applied To 0,1,2,3" in said
    assert studies.startswith("resnet50-agc, resnet50-bn-dropout-batch256")
    assert factors["Batch size"][1:] == ["64, 128, 256", "resnet50-agc-1epoch", "256 (8)"]
    assert factors["Clip of adaptive gradient clipping"][1] == "none, 0.01, 0.02, 0.04"
    assert factors["Clip of adaptive gradient clipping"][3] == "none (8)"
    assert "0.1 / 0.2 / 0.3 (3)" in factors["Dropout probabilities, layer by layer"][3]


def test_the_scoreboard_says_what_studies_and_files_say(derive: ModuleType) -> None:
    text = (FOLDER / "scoreboard.md").read_text(encoding="utf-8")
    marks = [name for _, kind, name, *_ in derive.PART.findall(text) if kind == "scoreboard"]
    assert marks == ["counts", "studies", "A", "B", "C", "D", "all"]
    assert derive.page_derived(text) == text
    changed = text.replace("| inconclusive |", "| supported |", 1)
    assert changed != text
    assert derive.page_derived(changed) == text


def test_a_page_calls_a_set_up_the_source_s_own_only_where_every_key_is(derive: ModuleType) -> None:
    pages = "".join((FOLDER / name).read_text(encoding="utf-8") for name in PAGES)
    typed = derive.PART.sub("", pages)
    assert not re.findall(r"own set-?up", typed)
    found = {name for _, kind, name, *_ in derive.PART.findall(pages) if kind == "setup"}
    scales = {study.study: study for study in derive.board().studies if study.study in found}
    assert {study.scale for study in scales.values()} == {"full", "laptop"}
    for name, study in scales.items():
        own = derive.setup_part(name, None).startswith("This is the source's own set-up")
        assert own == (not study.differs)


def test_the_arms_that_never_learned_are_counted(derive: ModuleType) -> None:
    one_class = learned = arms = 0
    for name, path in released().items():
        if name.endswith("-quick"):
            ends = pd.read_csv(path).dropna(subset=["state"])
            for _, trials in ends.groupby("arm"):
                arms += 1
                one_class += (trials["test_macro_f1"].round(4) == 0.0182).all()
                learned += (trials["test_accuracy"] >= 0.2).any()
    text = derive.rehearsed_part("counts", None)
    assert text.startswith(f"Of the {arms} arms of the 16 quick variants, {one_class} predict one ")
    assert text.endswith(f" the other {learned} train.\n")
    assert sum(each.train for each in derive.rehearsed()) == learned > 0
    with pytest.raises(UserError, match="unknown part of the rehearsals 'count'"):
        derive.rehearsed_part("count", None)


@pytest.mark.parametrize("name", PAGES)
def test_a_changed_number_is_found(name: str, derive: ModuleType) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    start = text.index("-->", text.index("<!-- arms ")) + len("-->")
    end = text.index("<!-- end -->", start)
    table = text[start:end]
    changed = text[:start] + table.replace("1", "2") + text[end:]
    assert changed != text
    assert derive.page_derived(changed) == text


def test_every_figure_is_there_and_a_drawn_one_is_as_the_file_says(derive: ModuleType) -> None:
    shown = 0
    for name in PAGES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        for path, content in derive.drawings(text):
            stored = derive.marks(path.read_text(encoding="utf-8"))
            assert len(stored) > 1
            assert derive.marks(content.decode()) == stored, path
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            assert (FOLDER / link).is_file(), link
            shown += 1
    assert shown > 0


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            "<!-- run mnist-l1-l2-gbn -->\nMine.\n<!-- arms mnist-l1-l2-gbn -->\n<!-- end -->",
            "no '<",
        ),
        ("<!-- rnu mnist-l1-l2-gbn -->\n<!-- end -->", "has no mark; those known are run"),
        ("<!-- run mnist-norms-grid -->\n<!-- end -->", "mnist-norms-grid.csv is not there"),
        ("<!-- candidates B mnist-norms -->\n<!-- end -->", "source B has no table of candidates"),
        ("<!-- candidates A resnet50-finl -->\n<!-- end -->", "Did you mean 'resnet50-final"),
        ("<!-- scoreboard E -->\n<!-- end -->", "unknown source 'E'"),
        ("<!-- run mnist-nroms -->\n<!-- end -->", "Did you mean 'mnist-norms'"),
        ("<!-- figure resnet14-norms gates -->\n<!-- end -->", "resnet14-norms, gates: "),
        ("<!-- figure mnist-l1-l2-gbn curvs -->\n<!-- end -->", "Did you mean 'curves"),
    ],
)
def test_a_slip_in_a_page_loses_nothing(
    page: str, message: str, derive: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(UserError, match=re.escape(message)):
        derive.derive(path, check=False)
    assert path.read_text() == page
    remark = "<!-- note for me -->\nText.\n"
    assert derive.page_derived(remark) == remark


def test_trials_of_another_variant_are_not_taken_in(
    derive: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--set", "epochs=1", "--set", "data.limit=5", "--seeds", "1", "--workers", "1"]
    where = ["--runs", str(tmp_path)]
    result = CliRunner().invoke(app, ["run", "digits-norms", "--quick", *run, *where])
    assert result.exit_code == 0, result.output
    with pytest.raises(UserError, match="was run with other values"):
        derive.collect(tmp_path, quick=False)
    (tmp_path / "digits-norms").rename(tmp_path / "mine")
    with pytest.raises(UserError, match="no bundled study was run"):
        derive.collect(tmp_path, quick=False)
    assert "left alone: mine" in capsys.readouterr().out


def test_every_file_of_trials_is_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md"))
    assert released()
    for name in released():
        assert f"<!-- run {name} -->" in pages
