"""A few steps on clocks: parts that are complete and sum to the step."""

import math
import random
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from tests.profiles import RATES

from normlab.recipe import Recipe
from normlab.study.files import bundled
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train.loop import Trainer
from normlab.train.profiling import (
    STEPS_PER_EPOCH,
    Profiled,
    Training,
    epochs,
    profile_training,
)
from normlab.train.profiling.clock import StepClock
from normlab.train.profiling.training import BETWEEN, PARTS
from normlab.train.stand_in import made_up

DIGITS = {"data": "digits", "model": "digits-small", "norm": "batch", "dropout": 0.1}


def profiled(recipe: Recipe, shape: Any = (1, 8, 8), classes: int = 10, steps: int = 2) -> Profiled:
    images = made_up(shape, classes, STEPS_PER_EPOCH * recipe.batch_size, 4)
    return profile_training(recipe, images, RATES, device="cpu", steps=steps)


def check(found: Training) -> None:
    tops = [part for part in found.parts if not part.within]
    assert [part.name for part in tops] == [*PARTS, "other"]
    assert all(part.seconds >= 0 and math.isfinite(part.seconds) for part in found.parts)
    assert all(part.floor is None or part.floor >= 0 for part in found.parts)
    assert sum(part.seconds for part in tops) == pytest.approx(found.by_part)
    for name in ("forward", "backward"):
        (whole,) = (part for part in tops if part.name == name)
        inner = [part for part in found.parts if part.within == name]
        assert inner[-1].name == BETWEEN
        assert sum(part.seconds for part in inner) == pytest.approx(whole.seconds)
        assert sum(part.floor or 0 for part in inner) == pytest.approx(whole.floor)


def test_the_parts_are_complete_and_sum_to_the_step() -> None:
    found = profiled(Recipe.parse(DIGITS | {"l1": 1e-4, "clip_grad_norm": 1.0}), steps=5).training
    check(found)
    assert (found.steps, found.batch) == (6, Recipe.parse(DIGITS).batch_size)  # whole epochs
    update = [part.name for part in found.parts if part.within == "optimizer"]
    assert update == ["penalties", "clipping", "weight decay", "update"]
    for name in ("undisturbed", "by_part", "by_layer", "evaluation", "build", "first_build"):
        assert getattr(found, name) > 0
    assert found.watching >= 0
    assert found.watching_once >= 0


def test_what_a_clock_that_ticks_says_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(epochs, "clock_of", lambda device: lambda: float(next(ticks)))
    monkeypatch.setattr(Trainer, "_clock", lambda self: float(next(ticks)))
    found = profiled(Recipe.parse(DIGITS)).training
    parts = {part.name: part.seconds for part in found.parts if not part.within}
    # One reading each; six within the update, one as a step begins.
    assert (parts["input"], parts["loss"], parts["metrics"]) == (1, 1, 1)
    assert (parts["forward"], parts["backward"], parts["optimizer"]) == (1, 1, 7)
    # Two steps of thirteen readings, and the one that ends the epoch.
    assert found.by_part == (2 * 13 + 1) / 2
    assert parts["other"] == found.by_part - 12
    assert found.undisturbed == 1 / 2


def test_a_step_clock_keeps_what_ran_beside_the_steps() -> None:
    ticks = count()
    marks = StepClock(lambda: float(next(ticks)))
    marks.begin()
    for part in ("input", "forward", "metrics"):
        marks.done(part)
    assert marks.steps == [{"input": 1.0, "forward": 1.0, "metrics": 1.0}]
    marks.begin()
    marks.done("evaluation")
    assert marks.rest == {"evaluation": 1.0}


def test_random_states_stay_as_they_were() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    profiled(Recipe.parse(DIGITS))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def first_arms() -> dict[str, Any]:
    """The first arm of every bundled study, one of each model."""
    found = {}
    for name in bundled():
        arm = make_plan(Study.load(name)).arms[0]
        kinds = arm.recipe.model.kind
        found.setdefault(kinds, pytest.param(arm, id=name))
    return {param.id: param for param in found.values()}


@pytest.mark.parametrize("arm", first_arms().values())
def test_the_first_arm_of_every_bundled_study_can_be_profiled(arm: Any) -> None:
    recipe = arm.recipe.model_copy(update={"batch_size": 2})
    check(profiled(recipe, arm.facts.shape, arm.facts.num_classes, steps=1).training)
