"""What `plan` says of costs, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests import stub_lanes

from normlab.study import costs as costing
from normlab.study import fast_path, probing
from normlab.train.fast_path import Bfloat16Speed
from normlab.train.speed import Speed
from normlab.wording import bytes_text, flops_text, hours_text

pytestmark = pytest.mark.usefixtures("torch_path")

Run = Any

STUDY = """
question: q
base:
  data: {kind: digits, limit: 10, test_limit: 5}
  model: {kind: resnet, n: 1}
  epochs: 2000
factors: {model.width: [4, 8]}
seeds: 3
analysis: {spread: 1, margin: 1}
claims: [{kind: better, name: wide, arm: {model.width: 8}, over: {model.width: 4}}]
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    speed = Speed(start=0.0, fixed=0.0, image=0.001, evaluation=0.0, batch=1000)
    monkeypatch.setattr(probing, "time_training", lambda *_, **__: speed)
    (tmp_path / "s.yaml").write_text(STUDY)
    return "s.yaml"


def test_costs_are_shown_with_where_they_are_from(normlab: Run, study: str) -> None:
    code, out, err = normlab("plan", study)
    assert (code, err) == (0, "")
    # 90 images x 2,000 epochs at 1,000 images a second are 180 seconds.
    row = next(line for line in out.splitlines() if line.rstrip().endswith("probe"))
    assert "MFLOP" in row or "GFLOP" in row
    assert "iB " in row
    assert row.split()[-3:] == ["1,000", "0.05", "probe"]
    assert "speed probe: estimated from a few training steps, timed now in " in out
    assert "about 0.3 hours (18 minutes) on one worker\n" in out
    # The claim's two arms, as many seeds as it needs.
    header, claim = (line for line in out.splitlines() if line.startswith(("claim ", "wide ")))
    assert header.rstrip().endswith("hours to settle")
    needed = int(claim.split()[-4])
    assert float(claim.split()[-1]) == pytest.approx(2 * needed * 0.05, rel=0.05)


def test_without_a_probe_hours_are_unknown(normlab: Run, study: str) -> None:
    code, out, _ = normlab("plan", study, "--no-probe")
    assert code == 0
    assert "speed unknown: no trial is stored, and nothing was timed" in out
    assert "hours unknown" in out
    assert "FLOP" in out


def test_programs_get_the_same(normlab: Run, study: str) -> None:
    found = json.loads(normlab("plan", study, "--json")[1])
    costs = found["costs"]
    assert costs["hours"] == pytest.approx(6 * 0.05)
    assert costs["hours"] == costs["hours_left"]
    assert [arm["speed"] for arm in costs["arms"]] == ["probe", "probe"]
    assert [arm["trials"] for arm in costs["arms"]] == [3, 3]
    assert costs["flops"] == sum(3 * arm["flops"] for arm in costs["arms"])
    (claim,) = found["claim_plans"]
    assert claim["hours"] == costs["claims"][0]["hours"] == pytest.approx(
        2 * claim["seeds_needed"] * 0.05
    )  # fmt: skip
    unknown = json.loads(normlab("plan", study, "--json", "--no-probe")[1])
    assert unknown["costs"]["hours"] is None
    assert unknown["claim_plans"][0]["hours"] is None
    assert unknown["costs"]["flops"] == costs["flops"]


def test_a_scaled_speed_names_its_arm_and_a_stored_one_its_trials(
    normlab: Run, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--set", "epochs=1", "--seeds", "2")
    assert normlab("run", study, "--workers", "1", *words)[0] == 0
    _, out, _ = normlab("plan", study, *words)
    assert "speed stored: measured in stored trials of this machine" in out
    assert "(0 seconds) of it left" in out

    def fails(*_: object, **__: object) -> Speed:
        raise RuntimeError("[bold]no")

    monkeypatch.setattr(probing, "time_training", fails)
    _, out, _ = normlab("plan", study, "--set", "epochs=2")
    assert "not timed: model.width=4, model.width=8: RuntimeError: [bold]no" in out


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0.012, "0.012 hours (43 seconds)"),
        (1 / 3600, "0.00028 hours (1 second)"),
        (0.5, "0.5 hours (30 minutes)"),
        (1.0, "1 hour"),
        (12.34, "12 hours"),
        (4541.1, "4,541 hours (189 days)"),
    ],
)
def test_hours_are_read_easily(hours: float, text: str) -> None:
    assert hours_text(hours) == text


def test_operations_and_bytes_have_three_digits() -> None:
    assert flops_text(27_560_471_680) == "27.6 GFLOP"
    assert flops_text(999_999) == "1.00 MFLOP"
    assert flops_text(12) == "12 FLOP"
    assert flops_text(None) == "–"
    assert bytes_text(3 * 2**29) == "1.50 GiB"
    assert bytes_text(433 * 2**20 + 5) == "433 MiB"


SLOW = """
question: q
base: {data: {kind: digits, limit: 10, test_limit: 5}, model: digits-small, epochs: 1}
factors: {precision: [float32, bfloat16]}
seeds: 1
"""


def test_a_processor_without_a_fast_path_for_bfloat16_is_warned_of(
    normlab: Run, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def speed(processor: str, threads: int, *, measure: bool = True) -> Bfloat16Speed:
        asked.append(measure)
        return Bfloat16Speed(0.04, 0.18)

    monkeypatch.setattr(fast_path, "bfloat16_speed", speed)
    (tmp_path / "slow.yaml").write_text(SLOW)
    code, out, _ = normlab("plan", "slow.yaml")
    (line,) = (line for line in out.splitlines() if "fast path" in line)
    assert code == 0
    assert line.startswith("warning: bfloat16 has no fast path on ")
    assert "1 of 2 arms trains in bfloat16 all the same" in line
    _, out, _ = normlab("plan", "slow.yaml", "--no-probe", "--json")
    assert json.loads(out)["warnings"] == [line.removeprefix("warning: ")]
    assert asked == [True, False]
    assert "fast path" not in normlab("plan", study)[1]
    _, out, _ = normlab("run", "slow.yaml", "--workers", "1")
    assert out.count(line) == 1
    assert out.index(line) < out.index("training 2 trials")


def test_what_trains_together_is_said_and_why_not(
    normlab: Run, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_lanes.install(monkeypatch)
    monkeypatch.setattr(costing, "worker_count", lambda **_: 1)
    (tmp_path / "two.yaml").write_text(
        "question: q\n"
        "base: {data: {kind: digits, limit: 10, test_limit: 5}, model: digits-small, epochs: 1}\n"
        "factors: {norm: [none, batch, layer]}\n"
        "seeds: 20\n"
    )
    _, out, _ = normlab("plan", "two.yaml")
    assert (
        "trained together: none, batch: up to 16 trials at once in a worker; hours and images/s "
        "are the share of each\n"
        "trained one by one: layer: no lanes for layer norm\n"
    ) in out
    found = json.loads(normlab("plan", "two.yaml", "--json")[1])["costs"]["arms"]
    assert [(arm["together"], arm["alone"]) for arm in found] == [
        (16, ""),
        (16, ""),
        (1, "no lanes for layer norm"),
    ]
