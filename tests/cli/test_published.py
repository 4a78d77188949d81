"""`normlab published`: from one's own runs, else from the released findings."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from normlab.study.files import read_text

Run = Any

STUDY = """
question: Does batch norm help?
base: {data: digits, model: digits-small, epochs: 2, lr: 0.05, data.limit: 20}
factors: {norm: [none, batch]}
seeds: 3
published:
  source: Table 1
  at: best_test
  divided_by: {test_loss: 10}
  rows:
    - {arm: {norm: none}, values: {test_accuracy: 90, test_loss: 0.05}}
    - {arm: {norm: batch}, values: {test_accuracy: 95.5, kilowatt hours: 3}}
quick: {seeds: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(STUDY)
    return str(tmp_path / "s.yaml")


def rows_of(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["metric"], row["arm"]): row for row in json.loads(out)["rows"]}


def test_source_c_s_table_is_printed_beside_the_released_findings(normlab: Run) -> None:
    code, out, _ = normlab("published", "mnist-norms")
    assert code == 0
    assert out.startswith("mnist-norms: published numbers beside the released findings")
    lines = [line.split() for line in out.splitlines()]
    start = next(i for i, line in enumerate(lines) if line[:2] == ["Test", "accuracy,"])
    shown = [line for line in lines[start + 1 :] if line][:7]
    pairs = [next(tuple(line[i : i + 2]) for i, word in enumerate(line) if "99." in word)
             for line in shown]  # fmt: skip
    assert [published for published, _ in pairs] == (
        "99.58 99.51 99.48 99.26 99.37 99.56 99.31".split()
    )
    assert [ours for _, ours in pairs] == "99.55 99.46 99.48 99.31 99.34 99.50 99.36".split()
    assert "Source C, its table of seven arms" in out
    assert "biased" in out


def test_one_s_own_runs_come_first(normlab: Run, file: str) -> None:
    code, out, _ = normlab("published", file)
    assert code == 0
    assert "published numbers alone: `normlab run s` makes ours" in out
    assert normlab("run", file, "--workers", "1")[0] == 0
    for reference in (file, "s"):
        code, out, _ = normlab("published", reference, "--json")
        found = json.loads(out)
        assert (code, found["origin"], found["rehearsal"]) == (0, "runs", False)
    rows = rows_of(out)
    (accuracy, loss) = (rows[metric, "none"] for metric in ("test_accuracy", "test_loss"))
    assert accuracy["difference"] == pytest.approx(accuracy["ours"] - 90)
    assert accuracy["low"] < accuracy["ours"] < accuracy["high"]
    assert (accuracy["seeds"], accuracy["judged_at"]) == (3, "last epoch")
    assert (loss["published"], loss["printed"]) == (0.5, 0.05)
    assert rows["kilowatt hours", "batch"]["ours"] is None
    out = normlab("published", "s")[1]
    assert "0.5000 (0.05)" in out
    assert "normlab has no measure 'kilowatt hours', so there is none of ours." in out


def test_a_rehearsal_says_so_and_takes_no_difference(normlab: Run, file: str) -> None:
    normlab("run", file, "--quick", "--workers", "1")
    code, out, _ = normlab("published", "s")
    assert code == 0
    assert out.startswith("s: REHEARSAL. Published numbers beside the study's runs")
    assert "variant: quick" in out
    assert " Ours " not in out
    found = json.loads(normlab("published", "s", "--json")[1])
    assert found["rehearsal"]
    assert all(row["difference"] is None for row in found["rows"])
    page = Path("runs/s/report.html").read_text(encoding="utf-8")
    assert "Published numbers beside a rehearsal" in page


def test_the_table_is_kept_as_csv_latex_and_markdown(normlab: Run, tmp_path: Path) -> None:
    code, out, _ = normlab("published", "mnist-norms", "--latex", "t", "--csv", "t/all.csv")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("t/")] == [
        "t/published.tex",
        "t/published.md",
        "t/all.csv",
    ]
    with (tmp_path / "t" / "all.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7 * 3
    assert {row["published"] for row in rows} >= {"99.58", "0.0151"}
    assert r"\num{99.58} & \num{99.55} & \numrange{99.50}{99.61} & \num{3} & \num{-0.03}" in (
        tmp_path / "t" / "published.tex"
    ).read_text(encoding="utf-8")
    markdown = (tmp_path / "t" / "published.md").read_text(encoding="utf-8")
    assert "| batch | 99.58 | 99.55 | 99.50 to 99.61 | 3 | -0.03 | 99.53 |" in markdown


def test_a_file_of_one_s_own_does_not_get_a_namesake_s_findings(
    normlab: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "mnist-norms.yaml"
    path.write_text(read_text("mnist-norms"))
    code, out, _ = normlab("published", str(path), "--json")
    assert (code, json.loads(out)["origin"]) == (0, "none")


def test_other_recipe_values_are_not_what_was_released(tmp_path: Path) -> None:
    import normlab as api

    for given, origin in (({}, "released"), ({"overrides": {"epochs": 1}}, "none")):
        study = api.load_study("mnist-norms", **given)  # type: ignore[arg-type]
        assert api.published(study, runs=tmp_path).origin == origin
    more = api.load_study("mnist-norms", seeds=9)
    assert set(api.published(more, runs=tmp_path).rows["seeds"]) == {3}


def test_a_study_without_published_numbers_says_so(normlab: Run) -> None:
    code, out, _ = normlab("published", "digits-norms")
    assert (code, out.strip()) == (0, "digits-norms: the study file has no published numbers")
    code, out, _ = normlab("published", "resnet50-agc-controlled")
    assert code == 0
    assert out.strip().endswith("they stand in resnet50-agc.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("published", "mnist-nroms"), "Did you mean 'mnist-norms'"),
        (("published", "mnist-norms", "--csv", "x.yaml/t.csv"), "cannot be written"),
    ],
)
def test_a_mistake_exits_with_2(
    normlab: Run, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_text("")
    code, _, err = normlab(*words)
    assert code == 2
    assert message in err


def test_it_shows_itself_in_a_notebook_and_a_console(tmp_path: Path) -> None:
    import normlab as api

    found = api.published("mnist-norms", runs=tmp_path)
    assert repr(found) == "<Comparison of mnist-norms: 21 published numbers>"
    assert "Published: 99.58, Ours: 99.55" in str(found)
    assert "<td>99.58</td><td>99.55</td>" in found._repr_html_()
