"""What only the whole training shows: whether a limit was ever reached, a rule ever acted.

Such a rule may rightly rest: a limit is there for the step that needs it. So a trial in which it
never acted is valid (but for AGC's `must_clip`), and the finding says so: an arm that differs from
another only by a rule at rest is that other arm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from normlab.recipe import Recipe
from normlab.recipe.training import Constant
from normlab.records import Check, EpochRecord
from normlab.train.schedule import acts


def over_the_trial(
    recipe: Recipe, history: Sequence[EpochRecord], steps_per_epoch: int, *, diverged: bool
) -> tuple[Check, ...]:
    """What agc, clip_grad_norm, the schedule and early stopping did in a whole training.

    Args:
        recipe: What was declared.
        history: Every epoch.
        steps_per_epoch: Batches in an epoch.
        diverged: Whether that is what ended it.
    """
    return (
        *_agc(recipe, history),
        *_clip(recipe, history),
        *_schedule(recipe, history, steps_per_epoch),
        *_stopping(recipe, history, diverged),
    )


def _agc(recipe: Recipe, history: Sequence[EpochRecord]) -> Iterator[Check]:
    shares = _numbers(history, "agc_clipped")
    if recipe.agc.clip and shares:
        yield Check(
            name="agc",
            declared="must clip" if recipe.agc.must_clip else "may clip",
            found=f"{min(shares):.3f} to {max(shares):.3f} of the units clipped per epoch",
            live=max(shares) > 0 or not recipe.agc.must_clip,
            acted=max(shares) > 0,
        )


def _clip(recipe: Recipe, history: Sequence[EpochRecord]) -> Iterator[Check]:
    shares, largest = _numbers(history, "norm_clipped"), _numbers(history, "largest_norm")
    if recipe.clip_grad_norm and shares:
        norm = f"; the largest gradient had the norm {max(largest):.3g}" if largest else ""
        yield Check(
            name="clip_grad_norm",
            declared="may clip",
            found=f"{min(shares):.3f} to {max(shares):.3f} of the steps clipped per epoch{norm}",
            live=True,
            acted=max(shares) > 0,
        )


def _schedule(
    recipe: Recipe, history: Sequence[EpochRecord], steps_per_epoch: int
) -> Iterator[Check]:
    if isinstance(recipe.schedule, Constant):
        return
    acted = acts(recipe, len(history), steps_per_epoch)
    rates = [record.lr for record in history]
    found = f"{min(rates):.4g} to {max(rates):.4g} at the ends of {len(history)} epochs"
    yield Check(
        name="schedule",
        declared=f"{recipe.schedule.kind} from lr {recipe.lr:g}",
        found=found if acted else f"lr {recipe.lr:g} in every step of {len(history)} epochs",
        live=True,
        acted=acted,
    )


def _stopping(recipe: Recipe, history: Sequence[EpochRecord], diverged: bool) -> Iterator[Check]:
    rule = recipe.early_stopping
    if rule.patience is None:
        return
    yield Check(
        name="early_stopping",
        declared=f"stops after {rule.patience} epochs without a better {rule.split} {rule.metric}",
        found=f"trained {len(history)} of {recipe.epochs} epochs",
        live=True,
        acted=len(history) < recipe.epochs and not diverged,
    )


def _numbers(history: Sequence[EpochRecord], name: str) -> list[float]:
    return [r.details[name] for r in history if r.details.get(name) is not None]
