"""Rates of this machine: no time is expected, only that something was measured."""

import pytest
import torch
from tests.profiles import RATES

from normlab.train.profiling import machine


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_something_is_measured(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SECONDS", 0.0)
    monkeypatch.setattr(machine, "_cache_size", lambda: 1 << 20)
    monkeypatch.setitem(machine._SIDE, "cpu", 32)
    found = machine.measure("cpu", precision)
    assert found.precision == precision
    assert found.flops > 0
    assert found.memory > 0
    assert found.cache is not None
    assert found.cache > 0
    assert (found.cache_array, found.memory_array) == (1 << 17, 64 << 20)
    assert found.flops_of.startswith(("a product of 32 x 32", "a 3x3 convolution"))


def test_the_best_of_some_repetitions_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.0, 5.0, 5.0, 7.0, 7.0, 10.0])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(machine, "_REPETITIONS", 3)
    monkeypatch.setattr(machine, "_SECONDS", 100.0)
    assert machine._best(lambda: None, "cpu") == 2.0


def test_maps_that_fit_into_the_cache_move_faster() -> None:
    assert RATES.bytes_per_second(500) == 40.0
    assert RATES.bytes_per_second(501) == 10.0


def test_no_thread_setting_is_changed() -> None:
    before = torch.get_num_threads()
    machine._cache_size()
    assert machine._cache_size() > 0
    assert torch.get_num_threads() == before
