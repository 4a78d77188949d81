"""`normlab claims --check`: an exit code by verdict."""

import json
from pathlib import Path
from typing import Any

import pytest

from normlab.cli.checking import Check, check_of

Run = Any

STUDY = """
question: Does batch norm help in a tiny net?
base: {data: {kind: digits, limit: 20, test_limit: 40}, model: digits-small, epochs: 1, lr: 0.05}
factors: {norm: [none, batch, layer]}
seeds: 3
analysis: {margin: 1}
claims:
  - {kind: better, name: helps, arm: {norm: batch}, over: {norm: none}}
  - {kind: better, name: helps too, arm: {norm: layer}, over: {norm: none}}
quick: {factors: {norm: [none, batch]}}
"""
SCORES = {"none": 90.0, "batch": 95.0, "layer": 95.0}


@pytest.fixture
def study(tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(STUDY)
    return "s.yaml"


OPEN = 90.5
"""A mean whose seeds are so far apart that it may be that of `none` or not."""


def table(path: Path, **scores: float) -> str:
    rows = [
        f"{norm},{seed},{score + (1.5 if score == OPEN else 0.1) * seed * (-1) ** seed}"
        for norm, score in (SCORES | scores).items()
        for seed in range(5)
    ]
    path.write_text("\n".join(["norm,seed,test_accuracy_percent", *rows]))
    return str(path)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, "check: 2 supported: exit code 0"),
        ({"layer": 85.0}, "check: 1 supported, 1 refuted: exit code 1"),
        ({"layer": OPEN}, "check: 1 supported, 1 open: exit code 3"),
        ({"batch": OPEN, "layer": 85.0}, "check: 1 refuted, 1 open: exit code 1"),
    ],
)
def test_trials_run_elsewhere_are_checked(
    normlab: Run, study: str, tmp_path: Path, scores: dict[str, float], said: str
) -> None:
    code = int(said[-1])
    words = ("claims", "--from", table(tmp_path / "t.csv", **scores), "--study", study)
    assert normlab(*words)[0] == 0
    found, out, err = normlab(*words, "--check")
    assert (found, err.splitlines()[-1]) == (code, said)
    assert "helps too" in out
    assert len(err.splitlines()) == 1 + said.count("open")
    found, out, err = normlab(*words, "--check", "--json")
    assert (found, json.loads(out)["check"]["exit_code"]) == (code, code)
    assert err.splitlines()[-1] == said


def test_a_study_that_is_not_finished_is_open_whatever_it_shows(normlab: Run, study: str) -> None:
    run = ("run", study, "--workers", "1")
    normlab(*run, "--shard", "1/2")
    code, out, err = normlab("claims", "s", "--check", "--json")
    assert code == 3
    lines = err.splitlines()
    assert lines[0] == "open: helps: not judged yet: 2 trials to train"
    assert lines[-1] == "check: 2 open: exit code 3"
    found = json.loads(out)
    assert [claim["unfinished"] for claim in found["claims"]] == [2, 2]
    assert found["check"]["why_open"].keys() == {"helps", "helps too"}
    normlab(*run)
    code, out, err = normlab("claims", "s", "--check", "--json")
    assert "not judged yet" not in err
    words = [claim["verdict"] for claim in json.loads(out)["claims"]]
    expected = 1 if "refuted" in words else 3 if "inconclusive" in words else 0
    assert code == expected
    assert [claim["unfinished"] for claim in json.loads(out)["claims"]] == [0, 0]


def test_a_rehearsal_settles_nothing_and_lacks_a_claim(normlab: Run, study: str) -> None:
    normlab("run", study, "--quick", "--workers", "1")
    code, out, err = normlab("claims", "s", "--check", "--json")
    found = json.loads(out)
    assert (code, found["rehearsal"]) == (3, True)
    assert "open: helps: the quick variant answers nothing" in err
    assert err.endswith("check: 1 open, 1 not in this variant: exit code 3\n")
    assert found["claims"][1]["verdict"] == "not in this variant"


def test_without_a_claim_there_is_nothing_to_check(
    normlab: Run, study: str, tmp_path: Path
) -> None:
    Path(study).write_text(STUDY[: STUDY.index("claims:")])
    words = ("claims", "--from", table(tmp_path / "t.csv"), "--study", study)
    assert normlab(*words)[0] == 0
    code, out, err = normlab(*words, "--check")
    assert (code, out) == (2, "the study makes no claims\n")
    assert err == "normlab: the study makes no claims: there is nothing to check\n"
    code, out, _ = normlab(*words, "--json")
    assert (code, json.loads(out)["check"]["exit_code"]) == (0, 2)


def claim(name: str, verdict: str, exploratory: str | None = None) -> dict[str, object]:
    return {"claim": name, "verdict": verdict, "exploratory": exploratory, "reason": "why"}


def test_exploratory_claims_count_and_are_told() -> None:
    claims = [claim("a", "supported", "seen before"), claim("b", "inconclusive", "seen before")]
    found = check_of(claims, unfinished={}, rehearsal=False)
    assert found == Check(
        supported=1, refuted=0, open=1, not_in_variant=0, exploratory=1, why_open={"b": "why"}
    )
    assert str(found) == "check: 1 supported, 1 open (1 exploratory): exit code 3"


def test_a_claim_that_waits_is_neither_supported_nor_refuted() -> None:
    claims = [claim("a", "refuted"), claim("b", "supported")]
    found = check_of(claims, unfinished={"a": 2}, rehearsal=False)
    assert (found.supported, found.refuted, found.exit_code) == (1, 0, 3)
    assert found.why_open == {"a": "not judged yet: 2 trials to train"}


def test_claims_of_no_arms_in_this_variant_are_nothing_to_go_by() -> None:
    found = check_of([claim("a", "not in this variant")], unfinished={}, rehearsal=False)
    assert (found.open, found.exit_code) == (0, 2)
