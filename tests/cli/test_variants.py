"""Which study and which variant of it a command speaks of."""

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest

Run = Any

STUDY = """
question: {question}
base: {{data: digits, data.limit: 5, model: digits-small, epochs: 1, lr: {lr}}}
factors: {{norm: [batch, none]}}
seeds: 2
claims: [{{kind: better, name: c1, arm: {{norm: batch}}, over: {{norm: none}}, margin: 1}}]
"""


def put(path: Path, question: str = "A?", lr: float = 0.05) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUDY.format(question=question, lr=lr), encoding="utf-8")
    return str(path)


def test_two_study_files_of_one_name_share_no_folder(normlab: Run, tmp_path: Path) -> None:
    first, second = put(Path("a/exp.yaml")), put(Path("b/exp.yaml"), "B?", 0.01)
    assert normlab("run", first, "--workers", "1")[0] == 0
    for command in (("run", second, "--workers", "1"), ("status", second), ("claims", second),
                    ("report", second)):  # fmt: skip
        code, _, err = normlab(*command)
        assert code == 2
        assert "runs/exp holds the runs of another study file" in err
        assert "a/exp.yaml" in err
        assert "--runs" in err
    code, out, _ = normlab("plan", second, "--force")
    assert code == 0
    assert "note: runs/exp holds the runs of another study file" in out
    assert "c1" in normlab("claims", first)[1]
    assert "4 of 4 trials" in normlab("status", first)[1]
    assert "A?" in Path("runs/exp/report.html").read_text(encoding="utf-8")
    assert normlab("run", second, "--workers", "1", "--runs", "others")[0] == 0


def test_a_study_that_is_changed_moved_or_copied_keeps_its_folder(
    normlab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(Path("project/exp.yaml"))
    monkeypatch.chdir(tmp_path / "project")
    run = ("run", "exp.yaml", "--workers", "1")
    assert normlab(*run)[0] == 0
    put(Path("exp.yaml"), "Changed?")
    assert "nothing to train" in normlab(*run)[1]
    Path("later").mkdir()
    Path("exp.yaml").rename("later/exp.yaml")
    assert "nothing to train" in normlab("run", "later/exp.yaml", "--workers", "1")[1]
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    put(Path("later/exp.yaml"), "Changed in the copy?")
    assert "nothing to train" in normlab("run", "later/exp.yaml", "--workers", "1")[1]
    assert file


def test_a_study_file_with_a_bundled_name_has_no_folder_with_the_bundled_one(
    normlab: Run, tmp_path: Path
) -> None:
    quick = ("--workers", "1", "--set", "epochs=1", "--set", "data.limit=5", "--seeds", "1")
    assert normlab("run", "digits-norms", *quick)[0] == 0
    code, _, err = normlab("run", put(Path("mine/digits-norms.yaml")), "--workers", "1")
    assert code == 2
    assert "holds the runs of the bundled study" in err


def test_after_set_every_command_says_which_variant_it_speaks_of(
    normlab: Run, tmp_path: Path
) -> None:
    file = put(Path("exp.yaml"))
    variant = "variant: lr=0.02, seed 0"
    change = ("--set", "lr=0.02", "--seeds", "1")
    assert variant in normlab("plan", file, *change)[1]
    assert variant in normlab("run", file, "--workers", "1", *change)[1]
    for command in ("status", "claims"):
        assert variant in normlab(command, file)[1]
    _, out, err = normlab("report", file)  # its output is a list of files
    assert (out.strip(), err.strip()) == ("runs/exp/report.html", variant)
    json.loads(normlab("claims", file, "--json")[1])
    json.loads(normlab("status", file, "--json")[1])
    normlab("run", file, "--workers", "1")
    for command in ("status", "claims", "report"):
        assert "variant" not in "".join(normlab(command, file)[1:])
    assert "variant: seeds 0 to 6 (7)" in normlab("plan", file, "--seeds", "7")[1]


@pytest.mark.parametrize(
    ("name", "better"),
    [("exp (1)", "exp 1"), ("a&b", "a b"), ("-x", "x"), ("a:b", "a b"), ("x" * 220, "x" * 60)],
)
def test_a_study_file_s_odd_name_is_refused_in_plain_words(
    name: str, better: str, normlab: Run, tmp_path: Path
) -> None:
    code, _, err = normlab("plan", put(Path(f"d/{name}.yaml")))
    assert code == 2
    assert f"for example to '{better}.yaml'" in err
    assert "letters, digits, blanks" in err
    assert "pattern" not in err


def test_a_study_s_name_in_two_forms_of_unicode_is_one(normlab: Run, tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put(Path(f"{apart}.yaml"))
    assert normlab("run", f"{composed}.yaml", "--workers", "1")[0] == 0
    assert [path.name for path in Path("runs").iterdir()] == [composed]
    for name in (composed, apart, f"{composed}.yaml", f"./{apart}.yaml"):
        code, out, _ = normlab("status", name)
        assert (code, out[:9]) == (0, f"{composed}: 4 of"[:9])


def test_a_level_twice_is_said(normlab: Run, tmp_path: Path) -> None:
    text = STUDY.format(question="Q", lr=0.1).replace("norm: [batch, none]", "batch_size: [64, 64]")
    Path("s.yaml").write_text(text)
    code, _, err = normlab("plan", "./s.yaml")
    assert code == 2
    assert "factors.batch_size is [64, 64]: the level 64 is there twice" in err


LOSING = """
question: A?
base: {data: digits, data.limit: 5, model: digits-small, epochs: 1, lr: 0.05}
factors: {norm: [batch, none], batch_size: [8, 16]}
seeds: 3
claims:
  - {kind: better, name: kept, arm: {norm: batch, batch_size: 8}, over: {norm: none, batch_size: 8}, margin: 1}
  - {kind: better, name: gone, arm: {batch_size: 16}, over: {batch_size: 8}, margin: 1}
figures: [{kind: factor, x: batch_size}, curves]
quick: {seeds: 1, factors: {batch_size: [8]}}
"""


def test_what_a_variant_loses_is_named_before_it_trains_and_in_its_report(
    normlab: Run, tmp_path: Path
) -> None:
    Path("exp.yaml").write_text(LOSING, encoding="utf-8")
    lost = (
        "lost in this variant: claim gone: batch_size is set to 8, and 16 is needed\n"
        "lost in this variant: figure factor: batch_size is set to 8 in every arm\n"
    )
    change = ("--set", "batch_size=8", "--seeds", "1")
    assert lost in normlab("plan", "exp.yaml", *change)[1]
    _, out, _ = normlab("run", "exp.yaml", "--workers", "1", *change)
    assert lost in out
    assert out.index("lost in this variant") < out.index("trained 2 trials")
    _, out, err = normlab("report", "exp.yaml")
    assert lost in err
    assert out.strip() == "runs/exp/report.html"


def test_the_study_itself_and_its_rehearsal_lose_nothing(normlab: Run, tmp_path: Path) -> None:
    Path("exp.yaml").write_text(LOSING, encoding="utf-8")
    for words in ((), ("--quick",)):
        assert "lost in" not in "".join(normlab("plan", "exp.yaml", "--force", *words)[1:])
