"""Claims on the command line: planned, settled by seeds added at looks, judged from a file."""

import json
from pathlib import Path
from typing import Any

import pytest

Run = Any

STUDY = """
question: Does batch norm help?
base: {data: digits, model: digits-small, epochs: 2, lr: 0.05, batch_size: 64}
factors: {norm: [none, batch]}
seeds: 3
analysis: {looks: [3, 4], margin: 1}
claims:
  - {kind: better, name: helps, arm: {norm: batch}, over: {norm: none}}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(STUDY)
    return str(tmp_path / "s.yaml")


def test_seeds_are_added_at_the_looks_until_the_claims_are_settled(normlab: Run, file: str) -> None:
    code, out, _ = normlab("run", file, "--until-settled", "--workers", "1")
    assert code == 0
    assert "3 seeds:\n  " in out
    assert "helps  " in out
    code, out, _ = normlab("claims", "s", "--json")
    (found,) = json.loads(out)["claims"]
    assert found["verdict"] == "supported" or found["seeds"] == 4
    assert found["exploratory"] is None
    assert found["alpha"] < 0.05  # its share of the looks


def test_another_rule_for_seeds_is_told_before_it_changes_verdicts(normlab: Run, file: str) -> None:
    quick = ("--workers", "1", "--set", "epochs=1", "--set", "data.limit=10")
    assert "note: " not in normlab("run", file, *quick)[1]
    out = normlab("run", file, "--until-settled", *quick)[1]
    assert "note: results were seen before seeds were to be added at looks" in out
    out = normlab("run", file, *quick)[1]
    assert "without --until-settled they are judged on 3 seeds and marked exploratory" in out


def test_the_plan_says_what_the_seeds_can_settle(normlab: Run, file: str) -> None:
    code, out, _ = normlab("plan", file)
    assert code == 0
    assert "?: no spread over seeds is known yet" in out
    code, out, _ = normlab("plan", file, "--json")
    (claim,) = json.loads(out)["claim_plans"]
    assert (claim["claim"], claim["settles"], claim["spread"]) == ("helps", True, None)


def test_a_claim_no_outcome_could_settle_is_refused(normlab: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(STUDY.replace("name: helps", "name: helps, test: permutation"))
    code, _, err = normlab("plan", str(path))
    assert code == 2
    assert "permuting 3 seeds per arm gives no p below 0.1" in err
    assert "tested at 0.05" in err
    code, out, _ = normlab("plan", str(path), "--force")
    assert code == 0
    assert "cannot be settled: helps" in out


def test_a_run_says_so_too_also_with_other_values_but_not_of_a_rehearsal(
    normlab: Run, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(STUDY.replace("name: helps", "name: helps, test: permutation"))
    run = ("run", str(path), "--workers", "1", "--set", "epochs=1", "--set", "data.limit=5")
    assert "cannot be settled: helps" in normlab(*run)[1]
    assert "cannot be settled: helps" not in normlab(*run, "--quick")[1]


def test_trials_run_elsewhere_are_judged(normlab: Run, file: str, tmp_path: Path) -> None:
    rows = [
        f"{norm},{score + seed / 10}"
        for norm, score in (("none", 90), ("batch", 95))
        for seed in range(5)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["norm,test_accuracy_percent", *rows]))
    code, out, _ = normlab("claims", "--from", str(tmp_path / "t.csv"), "--study", file)
    assert code == 0
    assert "supported, materially" in out
    assert "+5 points" in out
    ranked = STUDY.replace("kind: better, name: helps, arm: {norm: batch}, over: {norm: none}",
                           "kind: ranking, order: [{norm: none}, {norm: batch}]")  # fmt: skip
    Path(file).write_text(ranked)
    code, out, _ = normlab("claims", "--from", str(tmp_path / "t.csv"), "--study", file)
    assert code == 0
    assert "\n  In reverse: none over batch.\n" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("claims",), "name one study: `claims STUDY`, or `claims STUDY --from SOURCE`"),
        (("claims", "digits-norms"), "has no runs"),
        (("run", "digits-norms", "--max-seeds", "5"), "--max-seeds needs --until-settled"),
        (("run", "digits-norms", "--until-settled", "--seeds", "2"), "leave --seeds out"),
    ],
)
def test_a_mistake_exits_with_2(normlab: Run, words: tuple[str, ...], message: str) -> None:
    code, _, err = normlab(*words)
    assert code == 2
    assert message in err


def test_a_study_without_claims_says_so(normlab: Run, tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(STUDY[: STUDY.index("claims:")])
    code, _, err = normlab("run", str(path), "--until-settled")
    assert code == 2
    assert "makes no claims" in err
    run = ("run", str(path), "--quick", "--set", "epochs=1", "--set", "data.limit=5")
    normlab(*run, "--seeds", "1", "--workers", "1")
    code, out, _ = normlab("claims", "plain")
    variant, said = out.strip().splitlines()
    assert (code, said) == (0, "the study makes no claims")
    assert variant.startswith("variant: quick, ")


def test_a_quick_variant_says_that_it_answers_nothing(normlab: Run, tmp_path: Path) -> None:
    file = tmp_path / "rates.yaml"
    file.write_text(
        """
        question: Which rate?
        base: {data: digits, model: digits-small, epochs: 1, data.limit: 20}
        factors: {lr: [0.01, 0.02, 0.05]}
        seeds: 2
        claims:
          - {kind: better, name: three, arm: {lr: 0.05}, over: {lr: 0.01}}
          - {kind: better, name: two, arm: {lr: 0.02}, over: {lr: 0.01}}
        quick: {factors: {lr: [0.01, 0.02]}}
        """
    )
    _, out, _ = normlab("run", str(file), "--quick", "--workers", "1", "--runs", str(tmp_path))
    assert "nan" not in out
    three = next(line for line in out.splitlines() if line.startswith("three "))
    assert three.split() == ["three", "not", "in", "this", "variant"]
    page = (tmp_path / "rates" / "report.html").read_text(encoding="utf-8")
    assert "Quick variant, a rehearsal" in page
    assert "<td>2</td>" in page
    assert "<td>2.0</td>" not in page
    normlab("run", str(file), "--workers", "1", "--runs", str(tmp_path))
    whole = (tmp_path / "rates" / "report.html").read_text(encoding="utf-8")
    assert "rehearsal" not in whole.partition("</style>")[2]  # the styles know the word
