"""Probes of speed: real steps, on a clock of the test's where a number is expected."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from normlab.recipe import Recipe
from normlab.train import speed
from normlab.train.speed import Load, Speed, time_training

RECIPE = Recipe.parse({"data": "digits", "model": "digits-small", "norm": "batch", "dropout": 0.1})
LOAD = Load(step_flops=1e6, flops=4e5, most=10_000)


def timed(**options: Any) -> Speed:
    given = {"images": 128, "device": "cpu", "seconds": 0.1, **options}
    return time_training(RECIPE, (1, 8, 8), 10, given.pop("load", LOAD), **given)


@pytest.fixture
def on_a_line(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps take 0.5 seconds and 0.01 for every image; the sizes that were timed."""
    sizes = []

    def step(self: Any, batch: int, end: float) -> Any:
        sizes.append(batch)
        return speed._Step(batch, 0.5 + 0.01 * batch, 0.002)

    monkeypatch.setattr(speed._Timing, "step", step)
    return sizes


def test_a_small_net_is_timed_at_its_own_batch_size(on_a_line: list[int]) -> None:
    found = timed()
    assert on_a_line == [128]
    assert found.step(128) == pytest.approx(0.5 + 1.28)
    assert found.batch == 128


def test_a_large_net_is_timed_at_growing_batches_and_a_line_goes_through_them(
    on_a_line: list[int],
) -> None:
    found = timed(load=Load(step_flops=1e9, flops=3e8, most=10_000), seconds=1000.0)
    assert on_a_line == [4, 16, 64, 128]
    assert (found.fixed, found.image) == pytest.approx((0.5, 0.01))
    assert found.evaluation == 0.002


def test_what_no_time_is_left_for_is_not_timed(on_a_line: list[int]) -> None:
    found = timed(load=Load(step_flops=1e9, flops=3e8, most=10_000), seconds=0.0)
    assert on_a_line == [4]
    assert found.step(4) == pytest.approx(0.54)


def test_no_batch_is_larger_than_the_memory(on_a_line: list[int]) -> None:
    timed(load=Load(step_flops=1e9, flops=3e8, most=20), seconds=1000.0)
    assert on_a_line == [4, 16, 20]


def test_a_first_batch_that_is_asked_for_is_the_first(on_a_line: list[int]) -> None:
    timed(load=Load(step_flops=1e9, flops=3e8, most=10_000), seconds=1000.0, first=64)
    assert on_a_line == [64, 128]


def test_a_step_is_never_faster_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.9, 0.3])  # somebody else had the processor the first time
    monkeypatch.setattr(
        speed._Timing, "step", lambda self, batch, end: speed._Step(batch, next(times), 0.0)
    )
    found = timed(load=Load(step_flops=1e9, flops=3e8, most=16), images=16, seconds=1000.0)
    assert (found.fixed, found.image) == (0.3, 0.0)


def test_a_probe_takes_real_steps_and_leaves_random_states_alone() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    found = timed()
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert min(found.image, found.evaluation, found.start) > 0


def test_augmentation_copies_and_clipping_are_timed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    kept = speed.Trainer.epoch

    def epoch(self: Any, number: int) -> Any:
        record = kept(self, number)
        seen.append((self.augment.copies, self.updater.clipped, record.seconds))
        return record

    monkeypatch.setattr(speed.Trainer, "epoch", epoch)
    augment = [{"kind": "cutout", "size": 3, "copies": 2}]
    recipe = Recipe.parse({**RECIPE.canonical(), "augment": augment, "agc": 0.01})
    time_training(recipe, (1, 8, 8), 10, LOAD, images=16, device="cpu", seconds=0.0)
    assert len(seen) == 2
    assert all(copies == 2 and clipped is not None for copies, clipped, _ in seen)
