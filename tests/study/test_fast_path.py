"""What a plan and a run say of bfloat16 on a processor that has no fast path for it."""

from pathlib import Path
from typing import Any

import pytest
import torch

import normlab
from normlab.store import Store
from normlab.study import fast_path
from normlab.study.fast_path import slow_bfloat16
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train.fast_path import Bfloat16Speed


def study(**values: Any) -> Study:
    base = {"data": "digits", "model": "digits-small", "epochs": 1, "batch_size": 64}
    return Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1, **values})


def mixed() -> Study:
    return study(factors={"precision": ["float32", "bfloat16"]})


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> list[Bfloat16Speed]:
    """What is measured: a processor that computes in it 25 times slower."""
    found = [Bfloat16Speed(0.04, 0.18)]
    monkeypatch.setattr(fast_path, "bfloat16_speed", lambda *_, **__: found[0])
    monkeypatch.setattr(fast_path, "chip_name", lambda device: f"Z80 {device}")
    return found


def test_a_slow_processor_is_named_with_what_was_measured(speeds: list[Bfloat16Speed]) -> None:
    assert slow_bfloat16(make_plan(mixed()), "cpu", 2) == (
        "bfloat16 has no fast path on Z80 cpu with 2 threads: a matrix product runs at 0.04 times "
        "and a convolution at 0.18 times the speed of float32. 1 of 2 arms trains in bfloat16 all "
        "the same; use precision: float32 here, or a processor with AVX-512 BF16 or AMX, or a "
        "newer GPU"
    )


def test_a_fast_processor_is_not_warned_of(speeds: list[Bfloat16Speed]) -> None:
    speeds[0] = Bfloat16Speed(3.0, 1.5)
    assert slow_bfloat16(make_plan(mixed()), "cpu", 1) is None


def test_nothing_is_measured_for_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> Bfloat16Speed:
        raise AssertionError("measured")

    monkeypatch.setattr(fast_path, "bfloat16_speed", never)
    assert slow_bfloat16(make_plan(study()), "cpu", 1) is None


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked(
    speeds: list[Bfloat16Speed], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return has

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    found = slow_bfloat16(make_plan(mixed()), "cuda", 1)
    assert asked == [False]
    assert (found is None) == has
    assert has or "no fast path on Z80 cuda: " in str(found)


def test_a_run_is_told_before_it_begins_and_trains_in_bfloat16_all_the_same(
    speeds: list[Bfloat16Speed], tmp_path: Path
) -> None:
    told: list[normlab.events.Event] = []
    results = normlab.run(mixed(), runs=tmp_path, progress=told.append)
    planned = told[0]
    assert isinstance(planned, normlab.events.RunPlanned)
    (warning,) = planned.warnings
    assert "no fast path" in warning
    assert results.trials["state"].tolist() == ["complete", "complete"]
    with Store.read(tmp_path / "s") as store:
        places = [place for (place,) in store.places(results.trials["id"].tolist()).values()]
    assert {place["precision"] for place in places} == {"float32", "bfloat16 autocast"}
