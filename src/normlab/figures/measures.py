"""Metrics as figures show them: in percent or their own unit, for one arm or several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from normlab.figures.figure import Needs, NotDrawnError
from normlab.figures.keys import TimeTo
from normlab.frames import titles
from normlab.frames.load import Frames
from normlab.frames.scores import measured, time_arrays
from normlab.frames.titles import time_title
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS, at_text, split_and_epochs
from normlab.stats import Moments, Times
from normlab.stats.collapse import Flags
from normlab.stats.contrasts import welch
from normlab.stats.intervals import Values
from normlab.stats.survival import restricted_moments

Metric = str | TimeTo
"""A name of `normlab.metrics`, or a time."""

Group = tuple[Mapping[str, object], Sequence[str]]
"""Columns that name a mean, and the arms it is over."""


@dataclass(frozen=True)
class Measured:
    """A metric of all trials, in the unit it is shown in.

    Attributes:
        values: (arms, seeds), NaN where a trial does not count.
        arms: Mean, variance and trials of each arm.
        reached: (arms, seeds): False where a time is only that of the whole training.
        bounds: What the metric can be.
        floor: Least variance to believe.
    """

    values: Values
    arms: Moments
    reached: Flags
    bounds: tuple[float, float]
    floor: float = 0.0


def metric_title(metric: Metric) -> str:
    """Name and unit, for an axis."""
    return titles.metric_title(metric) if isinstance(metric, str) else time_title(metric.time())


def needs_of(metrics: Sequence[Metric], at: str | int | None) -> Needs:
    """What arms must have to give one of these metrics at an epoch."""
    splits, epochs = set(), 1
    for metric in metrics:
        if isinstance(metric, str):
            of_metric, needed = split_and_epochs(metric, at or "last")
        else:
            of_metric, needed = {metric.split}, metric.hold
        splits |= of_metric
        epochs = max(epochs, needed)
    return Needs(frozenset(splits), epochs)


def published_key(metric: Metric) -> str | None:
    """What a published value is called; None where no source's number is meant."""
    if isinstance(metric, str):
        return metric
    return f"{metric.clock}_to_{metric.target:g}" if metric.hold == 1 else None


def source_epochs(frames: Frames, metrics: Sequence[Metric], at: str | int) -> str:
    """In parentheses, the epochs that printed numbers are of where a figure is of another one."""
    names = {m for m in metrics if isinstance(m, str) and m in METRICS and METRICS[m].per_epoch}
    found = dict.fromkeys(
        at_text(row.at)
        for row in frames.plan.published
        if row.at is not None and row.at != at and row.is_beside(at)
        for name in names & row.values.keys()
        if isinstance(row.values[name], int | float)
    )
    return f" ({', '.join(found)})" if found else ""


def measure(frames: Frames, metric: Metric, at: str | int, arms: Sequence[str]) -> Measured:
    """A metric of every trial that counts; times are limited to the longest training of `arms`."""
    if not isinstance(metric, str):
        return _timed(time_arrays(frames, metric.time(), arms))
    found = measured(frames, metric, at)
    reached = np.full(found.values.shape, fill_value=True)
    return Measured(found.values, found.arms, reached, found.bounds, found.floor)


def _timed(study: Times) -> Measured:
    within = study.reached & (study.times <= study.budget)
    values = np.minimum(study.times, study.budget)
    return Measured(values, restricted_moments(study), within, (0.0, study.budget))


def scored_rows(
    frames: Frames, metric: Metric, at: str | int, groups: Sequence[Group]
) -> pd.DataFrame:
    """Every trial's value, the mean of each group and what was published.

    Args:
        frames: The study.
        metric: Which.
        at: The epoch that counts; see `normlab.frames.scores.score_array`.
        groups: What is shown together; several arms of a group count alike, however many seeds.

    Returns:
        The groups' columns and `part`: `seed` (`arm`, `seed`, `id`, `value`, `reached`), `mean`
        (`value`, `low`, `high` of the 95 % interval, `seeds`) or `published` (`value`).

    Raises:
        NotDrawnError: No trial has the metric.
    """
    every = [arm for _, arms in groups for arm in arms]
    found = measure(frames, metric, at, every)
    place = {label: row for row, label in enumerate(frames.arms)}
    seeds = list(dict.fromkeys(frames.trials["seed"]))
    ids = dict(
        zip(zip(frames.trials["arm"], frames.trials["seed"], strict=True), frames.trials["id"],
            strict=True)
    )  # fmt: skip
    printed = printed_values(frames, metric, at)
    rows: list[dict[str, object]] = []
    for columns, arms in groups:
        weights = np.zeros(len(frames.arms))
        weights[[place[arm] for arm in arms]] = 1 / len(arms)
        mean = welch(found.arms, weights, variance_floor=found.floor)
        low, high = (np.clip(limit, *found.bounds) for limit in mean.limits(0.05))
        if np.isfinite(mean.estimate[0]):
            rows.append(
                {
                    **columns,
                    "part": "mean",
                    "value": mean.estimate[0],
                    "low": low[0],
                    "high": high[0],
                    "seeds": int(found.arms.seeds[weights > 0].sum()),
                }
            )
        rows += [
            {
                **columns,
                "part": "seed",
                "arm": arm,
                "seed": seeds[column],
                "id": ids[arm, seeds[column]],
                "value": found.values[place[arm], column],
                "reached": bool(found.reached[place[arm], column]),
            }
            for arm in arms
            for column in np.flatnonzero(np.isfinite(found.values[place[arm]]))
        ]
        known = [printed[arm] for arm in arms if arm in printed]
        if len(known) == len(arms):
            # Of one arm every number that was printed, of several the mean of theirs.
            shown = known[0] if len(known) == 1 else [np.mean([np.mean(one) for one in known])]
            rows += [{**columns, "part": "published", "value": float(value)} for value in shown]
    if not any(row["part"] == "mean" for row in rows):
        raise NotDrawnError(f"no finished trial has the {metric_title(metric)} yet")
    names = ["arm", "part", "value", "low", "high", "seeds", "seed", "id", "reached"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*groups[0][0], *names])))


def part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one part, without the columns that it does not have."""
    return rows[rows["part"] == name].dropna(axis="columns", how="all")


def printed_values(
    frames: Frames, metric: Metric, at: str | int = "last"
) -> dict[str, list[float]]:
    """What the source printed of a metric, by arm and in our unit: accuracies in percent.

    Numbers of a time until another split's accuracy, or of another numbered epoch, are none of it.
    """
    name = published_key(metric)
    found: dict[str, list[float]] = {}
    for row in frames.plan.published:
        value = row.values.get(name) if name else None
        beside = row.is_beside(at) if isinstance(metric, str) else row.split in {None, metric.split}
        if isinstance(value, int | float) and beside:
            for arm in row.arms:
                found.setdefault(arm, []).append(float(value))
    return found
