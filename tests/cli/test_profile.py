"""What `profile` says, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.profiles import RATES

from normlab.study import profiling

Run = Any

STUDY = """
question: q
base:
  data: {kind: digits, limit: 20, test_limit: 10}
  model: digits-small
  epochs: 2
factors: {norm: [batch, none]}
seeds: 1
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(profiling, "measure", lambda device, precision: RATES)
    monkeypatch.setattr(profiling, "time_start", lambda: 2.0)
    (tmp_path / "s.yaml").write_text(STUDY)
    return "s.yaml"


def test_the_parts_of_a_step_and_of_a_trial_are_shown(normlab: Run, study: str) -> None:
    code, out, err = normlab("profile", study, "--steps", "2")
    assert (code, err) == (0, "")
    assert out.startswith("s, arm batch: a step of 128 images (")
    assert "1 thread, float32, real images)" in out
    for part in ("input", "forward", "  convolutions", "  norms", "backward", "optimizer", "other"):
        assert f"\n{part} " in out
    for part in ("building the model", "steps", "evaluation", "storing"):
        assert f"\n{part} " in out
    assert out.count("\ntogether ") == 2
    assert "the floor: the larger of operations and bytes" in out
    assert "once a worker, beside its trials: importing 2.00 s, reading the images " in out


def test_programs_get_the_same(normlab: Run, study: str) -> None:
    code, out, err = normlab("profile", study, "--arm", "none", "--steps", "1", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == [
        "format",
        "name",
        "arm",
        "device",
        "chip",
        "threads",
        "images",
        "batch",
        "steps",
        "disturbed",
        "rates",
        "training",
        "step",
        "trial",
        "worker",
    ]
    assert (found["name"], found["arm"], found["steps"]) == ("s", "none", 2)
    columns = ["name", "within", "seconds", "calls", "floor", "flops", "moved", "share"]
    for table in ("step", "trial", "worker"):
        for part in found[table]:
            assert list(part) == [*columns, "times_the_floor"]
            assert part["seconds"] >= 0
    kinds = [part["name"] for part in found["step"] if part["within"] == "forward"]
    assert "convolutions" in kinds
    assert "norms" not in kinds
    assert sum(part["share"] for part in found["step"] if not part["within"]) == pytest.approx(1)
    assert found["training"]["undisturbed"] > 0
    assert found["rates"]["flops"] == RATES.flops


def test_an_arm_that_is_not_there_is_a_mistake(normlab: Run, study: str) -> None:
    code, out, err = normlab("profile", study, "--arm", "btach")
    assert (code, out) == (2, "")
    assert err == "normlab: s: unknown arm 'btach'. Did you mean 'batch'? Allowed: batch, none.\n"


def test_values_can_be_set(normlab: Run, study: str) -> None:
    _, out, _ = normlab("profile", study, "--steps", "1", "--set", "batch_size=16", "--json")
    assert json.loads(out)["batch"] == 16
