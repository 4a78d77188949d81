"""Every schedule against torch's scheduler of the same name."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR

from normlab.recipe import Recipe
from normlab.train.schedule import at_step

EPOCHS, STEPS, LR = 7, 5, 0.2


def made(schedule: object, **values: object) -> Recipe:
    base = {"data": "digits", "model": "digits-small", "epochs": EPOCHS, "lr": LR}
    return Recipe.parse({**base, "schedule": schedule, **values})


def torch_s(
    make: Callable[[optim.Optimizer], LRScheduler], *, per_step: bool
) -> list[tuple[float, float]]:
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    scheduler = make(optimizer)
    found = []
    for step in range(EPOCHS * STEPS):
        group = optimizer.param_groups[0]
        found.append((group["lr"], group["momentum"]))
        optimizer.step()
        if (per_step or (step + 1) % STEPS == 0) and step + 1 < EPOCHS * STEPS:
            scheduler.step()
    return found


CASES = {
    "step": ({"kind": "step", "step_size": 3, "gamma": 0.5}, lambda o: StepLR(o, 3, 0.5), False),
    "cosine per epoch": (
        {"kind": "cosine", "final_lr": 0.01, "per": "epoch"},
        lambda o: CosineAnnealingLR(o, EPOCHS, 0.01),
        False,
    ),
    "cosine per step": ("cosine", lambda o: CosineAnnealingLR(o, EPOCHS * STEPS), True),
    "one_cycle": ("one_cycle", lambda o: OneCycleLR(o, LR, EPOCHS * STEPS), True),
    "one_cycle, options": (
        {"kind": "one_cycle", "pct_start": 0.2, "div_factor": 10.0, "final_div_factor": 100.0,
         "base_momentum": 0.7, "max_momentum": 0.8},
        lambda o: OneCycleLR(
            o, LR, EPOCHS * STEPS, pct_start=0.2, div_factor=10, final_div_factor=100,
            base_momentum=0.7, max_momentum=0.8,
        ),
        True,
    ),
    "one_cycle without momentum": (
        {"kind": "one_cycle", "cycle_momentum": False},
        lambda o: OneCycleLR(o, LR, EPOCHS * STEPS, cycle_momentum=False),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_equals_torch_s_scheduler(name: str) -> None:
    schedule, make, per_step = CASES[name]
    recipe = made(schedule)
    ours = [at_step(recipe, step, STEPS) for step in range(EPOCHS * STEPS)]
    for found, expected in zip(ours, torch_s(make, per_step=per_step), strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_constant_stays() -> None:
    recipe = made("constant", momentum=0.5)
    assert {at_step(recipe, step, STEPS) for step in range(EPOCHS * STEPS)} == {(LR, 0.5)}


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("steps", [1, 2])
def test_one_cycle_of_very_few_steps_stays_finite(epochs: int, steps: int) -> None:
    recipe = made("one_cycle", epochs=epochs)
    for step in range(epochs * steps):
        lr, momentum = at_step(recipe, step, steps)
        assert 0 < lr <= LR + 1e-12
        assert math.isfinite(momentum)


@pytest.mark.parametrize("pct_start", [0.001, 0.1, 0.25, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("total", [*range(1, 13), 40])
def test_one_cycle_of_few_steps_is_torch_s(total: int, pct_start: float) -> None:
    recipe = made({"kind": "one_cycle", "pct_start": pct_start}, epochs=1)
    ours = [at_step(recipe, step, total) for step in range(total)]
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    if pct_start * total == 1:  # the rising phase has no length, and torch divides by it
        with pytest.raises(ZeroDivisionError):
            OneCycleLR(optimizer, LR, total, pct_start=pct_start)
        assert ours[0] == (LR, 0.85)  # step 0 is the peak
        return
    scheduler = OneCycleLR(optimizer, LR, total, pct_start=pct_start)
    for step, found in enumerate(ours):
        (group,) = optimizer.param_groups
        assert found == pytest.approx((group["lr"], group["momentum"]), rel=1e-9, abs=1e-12)
        optimizer.step()
        if step + 1 < total:
            scheduler.step()


def test_one_cycle_of_two_steps_comes_down_from_before_the_first() -> None:
    # The peak is at 0.3 * 2 - 1 = -0.4, the end at 1: step 0 has done 0.4 / 1.4 of the way down.
    last = LR / 25 / 1e4
    expected = last + (LR - last) * (1 + math.cos(math.pi * 0.4 / 1.4)) / 2
    (lr, _), (end, _) = (at_step(made("one_cycle", epochs=1), step, 2) for step in (0, 1))
    assert lr == pytest.approx(expected, rel=1e-12)
    assert end == pytest.approx(last, rel=1e-12)
