"""Runs that another tool logged, on the command line: judged, and sketched as a study file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.trackers import made

Run = Any

STUDY = """
question: Does batch norm help?
base: {}
factors: {norm: [none, batch]}
seeds: 3
claims:
  - {kind: better, name: helps, arm: {norm: batch}, over: {norm: none}}
"""
SCORES = {"none": (0.8, 0.8125, 0.82), "batch": (0.951, 0.96, 0.9725)}


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(STUDY)
    return str(tmp_path / "s.yaml")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A project of trackio: two norms by three seeds, and three runs of something else."""
    rows, configs = [], []
    for norm, scores in SCORES.items():
        for seed, score in enumerate(scores):
            name = f"{norm}-s{seed}"
            rows += [(name, name, step, {"val/acc": score - (1 - step) / 10}) for step in (0, 1)]
            configs.append((name, name, {"norm": norm, "seed": seed, "lr": 0.1}))
    for number in range(3):
        rows.append((f"x{number}", f"x{number}", 0, {"perplexity": 3.0}))
        configs.append((f"x{number}", f"x{number}", {"layers": 2}))
    return str(made.trackio(tmp_path / "norms.db", rows, configs))


def test_a_store_is_judged_with_what_is_left_out_and_not_known(
    normlab: Run, file: str, store: str
) -> None:
    words = ("claims", "--from", store, "--study", file)
    code, out, err = normlab(*words)
    assert code == 2
    assert "--map test_accuracy=val/acc" in err
    assert not out
    words += ("--map", "test_accuracy=val/acc")
    code, out, _ = normlab(*words)
    assert code == 0
    assert "supported, materially" in out
    assert "left out: 3 runs: no parameter 'norm' (x0, x1, x2)\n" in out
    assert "note: Not known: whether the test images chose" in " ".join(out.split())
    code, out, _ = normlab(*words, "--selected-on", "nothing", "--json", "--check")
    assert code == 0
    found = json.loads(out)
    (claim,) = found["claims"]
    assert (claim["verdict"], claim["seeds"]) == ("supported", 3)
    assert claim["estimate"] == pytest.approx(
        (sum(SCORES["batch"]) - sum(SCORES["none"])) / 3, rel=1e-12
    )
    assert [one["runs"] for one in found["left_out"]] == [3]
    assert found["notes"] == []


def test_a_study_file_written_for_a_store_judges_it(
    normlab: Run, store: str, tmp_path: Path
) -> None:
    told = ("--from", store, "--map", "test_accuracy=val/acc")
    code, out, err = normlab("new-study", *told)
    assert (code, err) == (0, "")
    path = tmp_path / "norms.yaml"
    command = f"normlab claims norms.yaml --from {store} --map test_accuracy=val/acc"
    assert f"# Judge them: {command}\n" in out
    assert out.endswith(f"written: norms.yaml. State its claims, then:\n{command}\n")
    assert yaml.safe_load(path.read_text())["factors"] == {"norm": ["batch", "none"]}
    code, out, _ = normlab("claims", "--study", str(path), *told)
    assert code == 0
    assert "supported" in out
    written = path.read_bytes()
    code, _, err = normlab("new-study", *told)
    assert code == 2
    assert "norms.yaml" in err
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("claims", "s", "--map", "seed=run"), "--from"),
        (("claims", "s", "--test-images", "100"), "--from"),
        (("new-study", "--map", "seed=run"), "--from"),
        (("claims", "--from", "nothing.db", "--study", "FILE"), "nothing.db"),
        (("claims", "--from", "STORE", "--study", "FILE", "--map", "seed"), "seed"),
        (("claims", "--from", "STORE", "--study", "FILE", "--map", "sead=x"), "'seed'"),
        (("claims", "--from", "STORE", "--study", "FILE", "--group", "norm"), "norms"),
        (("claims", "--from", "STORE", "--study", "FILE", "--selected-on", "tests"), "'test'"),
        (("claims", "--from", "STORE", "--study", "FILE", "--ends", "owns"), "'own'"),
        (("claims", "--from", "STORE", "--study", "FILE", "--names", "{norm"), "{norm"),
    ],
)
def test_a_mistake_exits_with_2(
    normlab: Run, file: str, store: str, words: tuple[str, ...], message: str
) -> None:
    places = {"FILE": file, "STORE": store}
    code, out, err = normlab(*(places.get(word, word) for word in words))
    assert code == 2
    assert message in err
    assert not out
    assert "Traceback" not in err
