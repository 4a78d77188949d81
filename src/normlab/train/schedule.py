"""Learning rate and momentum as pure functions of the step: nothing to save, nothing to resume."""

from __future__ import annotations

import math

from normlab.recipe import Recipe
from normlab.recipe.training import Constant, Cosine, OneCycle, Step


def at_step(recipe: Recipe, step: int, steps_per_epoch: int) -> tuple[float, float]:
    """Learning rate and momentum of a step.

    Args:
        recipe: Whose `schedule`, `lr`, `momentum` and `epochs` count.
        step: Steps done before this one, over all epochs.
        steps_per_epoch: Batches in an epoch, the last ragged one included.
    """
    schedule, lr, momentum = recipe.schedule, recipe.lr, recipe.momentum
    epoch, total = step // steps_per_epoch, recipe.epochs * steps_per_epoch
    match schedule:
        case Constant():
            return lr, momentum
        case Step():
            return lr * schedule.gamma ** (epoch // schedule.step_size), momentum
        case Cosine():
            done = step / total if schedule.per == "step" else epoch / recipe.epochs
            return _cosine(lr, schedule.final_lr, done), momentum
        case OneCycle():
            return _one_cycle(schedule, lr, momentum, step, total)


def acts(recipe: Recipe, epochs: int, steps_per_epoch: int) -> bool:
    """Whether any step of so many epochs has another rate or momentum than without a schedule."""
    last = epochs * steps_per_epoch - 1
    # Steps and cosines go one way from the first step to the last; a cycle has its peak between.
    steps = {0, last, last // 2, min(1, last)}
    plain = recipe.lr, recipe.momentum
    return any(
        not math.isclose(value, without, rel_tol=1e-12)
        for step in steps
        for value, without in zip(at_step(recipe, step, steps_per_epoch), plain, strict=True)
    )


def _one_cycle(
    schedule: OneCycle, lr: float, momentum: float, step: int, total: int
) -> tuple[float, float]:
    """The two phases of torch's `OneCycleLR` with cosine annealing."""
    first, last = lr / schedule.div_factor, lr / schedule.div_factor / schedule.final_div_factor
    low, high = schedule.base_momentum, schedule.max_momentum
    # In a run of a few steps the peak may lie before step 0: then all steps come down from it. At
    # exactly 0 torch divides by zero; here that step is the peak.
    peak = schedule.pct_start * total - 1
    if step <= peak:
        done = step / peak if peak else 1.0
        rate, cycled = _cosine(first, lr, done), _cosine(high, low, done)
    else:
        done = (step - peak) / (total - 1 - peak)  # pct_start is below 1
        rate, cycled = _cosine(lr, last, done), _cosine(low, high, done)
    return rate, cycled if schedule.cycle_momentum else momentum


def _cosine(start: float, end: float, done: float) -> float:
    """From start (done = 0) to end (done = 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
