"""From a study's frames to the arrays that claims are judged on: (arms, seeds), NaN for missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from normlab.frames.load import Frames, once
from normlab.frames.tables import COUNTED, time_table
from normlab.lazy import pandas as pd
from normlab.metrics import BEST_TEST, METRICS, WORST_OF_LAST, last_epochs
from normlab.records.plan import ClaimRecord, TimeRecord
from normlab.stats.collapse import earned_scores
from normlab.stats.contrasts import FEWEST
from normlab.stats.intervals import (
    Intervals,
    Moments,
    Values,
    moments,
    one_image_variance,
    t_intervals,
)
from normlab.stats.survival import Times

Places = npt.NDArray[np.int64]


def score_array(frames: Frames, metric: str, at: str | int) -> Values:
    """A metric of every trial, turned round where less is better.

    Args:
        frames: The study.
        metric: One of `normlab.metrics`.
        at: `last`, `best_validation`, the number of an epoch, or `worst_of_last_` or
            `mean_of_last_` with a number; for a source's own measure `best_test`, the metric's best
            over all epochs, which no claim has.

    Returns:
        (arms, seeds) in the plan's order. Trials that are invalid, failed or missing are NaN; of a
        diverged one without a value the accuracy is chance.
    """
    spec = METRICS[metric]
    trials = frames.trials
    if spec.per_epoch and at != "last":
        values = _at(frames.epochs, metric, at)
        column = trials["id"].map(values)
    else:
        column = trials[metric]
    counted = trials["state"].isin(COUNTED)
    wide = _wide(frames, column.where(counted).astype(float))
    if metric.endswith("accuracy"):
        diverged = _wide(frames, (trials["state"] == "diverged").astype(float)) == 1
        wide = earned_scores(wide, diverged, chance(frames))
    return wide if spec.higher else -wide


class Measured(NamedTuple):
    """A metric as it is shown: with its own sign, fractions of 1 in percent.

    Attributes:
        values: Of every trial (arms, seeds), NaN for missing.
        arms: Over the seeds.
        bounds: What a value can be.
        floor: Least variance of an arm to believe.
    """

    values: Values
    arms: Moments
    bounds: tuple[float, float]
    floor: float

    def intervals(self) -> Intervals:
        """95 % t-intervals over seeds (arms,), from three seeds on, cut at the bounds."""
        mean, variance, seeds = self.arms
        enough = np.where(seeds >= FEWEST, seeds, 0)
        found = t_intervals(mean, variance, enough, variance_floor=self.floor)
        low, high = (np.clip(limit, *self.bounds) for limit in (found.low, found.high))
        return Intervals(mean, low, high)


def measured(frames: Frames, metric: str, at: str | int) -> Measured:
    """A metric of every trial that counts, as it is shown; see `score_array`."""
    spec = METRICS[metric]
    scale = 100.0 if spec.points else 1.0
    values = scale * score_array(frames, metric, at) * (1 if spec.higher else -1)
    count = images(frames, metric)
    most = 100.0 if spec.points else np.inf
    return Measured(
        values,
        moments(values),
        (-np.inf, np.inf) if spec.signed else (0.0, most),
        scale**2 * float(one_image_variance(count)) if count else 0.0,
    )


def trials_of(frames: Frames, claim: ClaimRecord) -> Values | Times:
    """What a claim is judged on: scores, or times to its target."""
    if claim.metric is None:
        assert claim.time is not None
        return time_arrays(frames, claim.time, claim.arms)
    return score_array(frames, claim.metric, claim.at)


def time_arrays(frames: Frames, time: TimeRecord, arms: Sequence[str]) -> Times:
    """Times to a target; never reached is censored at the budget.

    The budget is the longest training of `arms`, so that all are censored alike.
    """
    table = time_table(frames, [time.target], hold=time.hold)
    table = table[(table["split"] == time.split) & (table["target"] == time.target)]
    clock = time.clock
    whole = frames.trials[frames.trials["arm"].isin(arms) & frames.trials["state"].isin(COUNTED)]
    # Of trials run elsewhere the file tells the images too.
    spent = whole[clock] if clock in whole else whole["train_images"] * whole["epoch"]
    budget = float(spent.max()) if len(spent) else float("nan")
    found = table.set_index("id")
    reached = frames.trials["id"].map(found["reached"]).eq(True)
    times = frames.trials["id"].map(found[clock]).astype(float)
    times = times.where(reached | times.isna(), budget)
    step = float((table[clock] / table["epochs"]).mean()) if len(table) else 0.0
    flags = _wide(frames, reached.astype(float)) == 1
    return Times(_wide(frames, times), flags, budget, resolution=step)


def images(frames: Frames, metric: str) -> float | None:
    """How many images a metric is a mean over, where one image is its least step."""
    column = f"{metric.partition('_')[0]}_images"
    if not metric.endswith(("accuracy", "micro_f1")) or column not in frames.trials:
        return None
    known = frames.trials[column].dropna()
    return float(known.iloc[0]) if len(known) else None


def chance(frames: Frames) -> float:
    """Accuracy of guessing, 1 / classes; NaN where the classes are not known."""
    counts = [arm.classes for arm in frames.plan.arms if arm.classes]
    return 1.0 / max(counts) if counts else float("nan")


def _at(epochs: pd.DataFrame, metric: str, at: str | int) -> dict[str, float]:
    if at == "best_validation":
        scored = epochs.dropna(subset=["validation_accuracy"])
        chosen = scored.loc[scored.groupby("id", sort=False)["validation_accuracy"].idxmax()]
    elif at == BEST_TEST:
        best = epochs.groupby("id")[metric].agg("max" if METRICS[metric].higher else "min")
        return {str(k): float(v) for k, v in best.items()}
    elif (ends := last_epochs(at)) is not None:
        prefix, count = ends
        rows = epochs.sort_values("epoch", kind="stable").groupby("id").tail(count)
        values = rows.groupby("id")[metric]
        worst = "min" if METRICS[metric].higher else "max"
        found = values.agg(worst if prefix == WORST_OF_LAST else "mean")
        # A trial that has fewer epochs, or no number in one of them, was not held to it.
        return {str(k): float(v) for k, v in found.where(values.count() == count).items()}
    else:
        chosen = epochs[epochs["epoch"] == at]
    return dict(zip(chosen["id"], chosen[metric], strict=True))


def _wide(frames: Frames, column: pd.Series[Any]) -> Values:
    """A column of `trials` as (arms, seeds)."""
    rows, columns, shape = cells(frames)
    array = np.full(shape, np.nan)
    array[rows, columns] = column.to_numpy()
    return array


@once
def cells(frames: Frames) -> tuple[Places, Places, tuple[int, int]]:
    """The row and the column of every trial in (arms, seeds), and how many of each there are."""
    seeds = {seed: at for at, seed in enumerate(dict.fromkeys(frames.trials["seed"]))}
    arms = {label: at for at, label in enumerate(frames.arms)}
    rows, columns = frames.trials["arm"].map(arms), frames.trials["seed"].map(seeds)
    return (
        np.asarray(rows, dtype=np.int64),
        np.asarray(columns, dtype=np.int64),
        (len(arms), len(seeds)),
    )
