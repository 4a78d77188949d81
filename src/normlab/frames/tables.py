"""The tables of a report, computed from a study's frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from normlab.frames.load import Frames, once
from normlab.frames.shares import together
from normlab.lazy import pandas as pd
from normlab.records import UNFINISHED
from normlab.stats import one_image_variance, t_intervals
from normlab.stats.contrasts import FEWEST

COUNTED = ("complete", "diverged")
"""States whose trials are in the statistics: a diverged one with the score it earned."""

SPLITS = ("train", "validation", "test")


@once
def arm_table(frames: Frames) -> pd.DataFrame:
    """One row per arm, in the plan's order.

    Columns: `arm`; `planned`, `finished`, `diverged`, `failed`, `invalid` trials; for final train,
    validation and test accuracy `<split>_mean`, and for validation and test `_low`, `_high`, the
    limits of the 95 % t-interval over seeds, from three on, cut at 0 and 1; `macro_f1` and `ece`
    on the test images, the overfitting `gap`, `seconds` of training and `examples_per_second`,
    means over seeds; `parameters` and `flops`; `peak_memory`, the most bytes of any of its trials
    (see `normlab.records.TrialResult`); `together`, the most trials that trained side by side with
    one of its own: beyond 1, seconds, examples per second and memory are shares of a group's.
    Accuracies are fractions of 1.
    """
    counted = frames.trials[frames.trials["state"].isin(COUNTED)]
    groups = counted.groupby("arm")
    table = pd.DataFrame({"arm": frames.arms}).set_index("arm")
    table["planned"] = frames.trials.groupby("arm").size()
    table["finished"] = groups.size()
    for state in ("diverged", "failed", "invalid"):
        in_state = frames.trials[frames.trials["state"] == state]
        table[state] = in_state.groupby("arm").size().reindex(table.index, fill_value=0)
    table["finished"] = table["finished"].fillna(0).astype(int)
    table["train_mean"] = groups["train_accuracy"].mean()
    for split in ("validation", "test"):
        accuracy = groups[f"{split}_accuracy"].agg(["mean", "var", "count"])
        accuracy = accuracy.reindex(table.index)
        images = groups[f"{split}_images"].first().reindex(table.index).astype(float)
        interval = t_intervals(
            accuracy["mean"],
            accuracy["var"],
            enough_for_interval(accuracy["count"]),
            variance_floor=one_image_variance(images.where(images > 0)),
        )
        for name, values in zip(("mean", "low", "high"), interval, strict=True):
            table[f"{split}_{name}"] = np.clip(values, 0.0, 1.0)
    table["macro_f1"] = groups["test_macro_f1"].mean()
    table["ece"] = groups["test_ece"].mean()
    table["gap"] = groups["gap"].mean()
    table["flops"] = groups["flops"].first()
    # A file of trials run elsewhere has none.
    peaks = counted.reindex(columns=["peak_memory"])["peak_memory"]
    table["peak_memory"] = pd.to_numeric(peaks, errors="coerce").groupby(counted["arm"]).max()
    table["seconds"] = groups["seconds"].mean()
    table["examples_per_second"] = groups["examples_per_second"].mean()
    most = together(counted).groupby(counted["arm"]).max()
    table["together"] = most.reindex(table.index, fill_value=1).astype(int)
    # Of trials run elsewhere no model was built: their file may tell, or not.
    table["parameters"] = [
        np.nan if arm.parameters is None else arm.parameters for arm in frames.plan.arms
    ]
    return table.reset_index()


def enough_for_interval(seeds: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers of seeds, 0 where they are too few: an interval of two seeds is as wide as all."""
    return seeds.where(seeds >= FEWEST, 0)


def curve_table(frames: Frames, metric: str) -> pd.DataFrame:
    """Learning curves: mean and 95 % t-interval over seeds per arm, split and epoch.

    Args:
        frames: The study.
        metric: `accuracy`, `loss`, `macro_f1` or `micro_f1`.

    Returns:
        Columns `arm`, `split`, `epoch`, `mean`, `low`, `high`, `seeds`; trials still running count
        as far as they are, failed and invalid ones do not. Rows without a value are left out;
        limits are cut at what the metric can be.
    """
    drawn = frames.trials[frames.trials["state"].isin((*COUNTED, *UNFINISHED))]["id"]
    columns = ["arm", "epoch", *(f"{split}_{metric}" for split in SPLITS)]
    groups = frames.epochs.loc[frames.epochs["id"].isin(drawn), columns].groupby(
        ["arm", "epoch"], as_index=False
    )
    parts = []
    for split in SPLITS:
        column = f"{split}_{metric}"
        part = groups[column].agg(["mean", "var", "count"]).assign(split=split)
        parts.append(part[part["count"] > 0])
    table = pd.concat(parts, ignore_index=True)
    interval = t_intervals(table["mean"], table["var"], enough_for_interval(table["count"]))
    most = np.inf if metric == "loss" else 1.0
    low, high = np.clip(interval.low, 0.0, most), np.clip(interval.high, 0.0, most)
    table = table.assign(low=low, high=high).rename(columns={"count": "seeds"})
    order = {label: index for index, label in enumerate(frames.arms)}
    table["order"] = table["arm"].map(order)
    table = table.sort_values(["split", "order", "epoch"])
    return table[["arm", "split", "epoch", "mean", "low", "high", "seeds"]].reset_index(drop=True)


def time_table(frames: Frames, targets: Sequence[float], *, hold: int = 1) -> pd.DataFrame:
    """Time to accuracy of every counted trial, on two clocks.

    Args:
        frames: The study.
        targets: Accuracies, fractions of 1.
        hold: Evaluations in a row that must reach the target; the first of them counts.

    Returns:
        A row per trial, `split` (`train`: the running accuracy; `validation`) and `target`, with
        `arm`, `seed`, `id`, `reached`, and `epochs`, `examples` (images seen) and `seconds` of
        training without evaluation. Where a target is not reached they are those of the whole
        training: censored.
    """
    if frames.times is not None:
        return frames.times
    counted = frames.trials[frames.trials["state"].isin(COUNTED)]
    read = ["id", "epoch", "seconds", "train_accuracy", "validation_accuracy"]
    epochs = frames.epochs.loc[frames.epochs["id"].isin(counted["id"]), read]
    # Trial by trial, in the order in which these come, and each trial's epochs in order.
    place = pd.factorize(epochs["id"])[0]
    order = np.lexsort((epochs["epoch"], place))
    epochs, place = epochs.iloc[order], place[order]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    known = counted.drop_duplicates("id").set_index("id").reindex(epochs["id"].iloc[starts])
    # A training that diverged had it for a while at most: it never got there.
    lasts = (known["state"] != "diverged").to_numpy()
    bounds = np.append(starts, len(epochs))
    parts = []
    for at in range(0, len(starts), _TOGETHER):
        some = bounds[at : at + _TOGETHER + 1]
        rows = epochs.iloc[some[0] : some[-1]]
        parts.append(_times(rows, some[:-1] - some[0], lasts[at : at + _TOGETHER], targets, hold))
    columns = ["arm", "seed", "id", "split", "target", "reached", "epochs", "examples", "seconds"]
    if not parts:
        return pd.DataFrame([], columns=columns)
    told, reached, last, spent = (np.concatenate(part) for part in zip(*parts, strict=True))
    trial, split, target = np.nonzero(np.broadcast_to(told[:, :, None], last.shape))
    shown = (trial, split, target)
    of_trial = known.iloc[trial]
    table = pd.DataFrame(
        {
            "arm": of_trial["arm"].to_numpy(),
            "seed": of_trial["seed"].to_numpy(),
            "id": of_trial.index.to_numpy(),
            "split": np.array(_TIMED, dtype=object)[split],
            "target": np.asarray(targets, dtype=float)[target],
            "reached": reached[shown],
            "epochs": last[shown] + 1,
            "examples": of_trial["train_images"].astype(float).to_numpy() * (last[shown] + 1),
            "seconds": spent[shown],
        },
        columns=columns,
    )
    return table if len(table) else pd.DataFrame([], columns=columns)


_TIMED = ("train", "validation")
_TOGETHER = 5000
"""Trials whose epochs are laid side by side at once."""


def _times(
    epochs: pd.DataFrame,
    starts: npt.NDArray[np.int64],
    lasts: npt.NDArray[np.bool_],
    targets: Sequence[float],
    hold: int,
) -> tuple[npt.NDArray[Any], ...]:
    """When trials reach targets.

    Args:
        epochs: Trial by trial, each in order.
        starts: Of each trial, its first row.
        lasts: Whether a trial can keep what it reached.
        targets: T accuracies.
        hold: See `time_table`.

    Returns:
        Whether any epoch tells a split's accuracy (trials, 2); whether targets are reached, at
        which epoch, from 0, or else the last one, and the training seconds until its end
        (trials, 2, T) each.
    """
    length = np.diff(np.append(starts, len(epochs)))
    longest = int(length.max()) + hold  # behind its end a trial holds nothing
    row = np.repeat(np.arange(len(starts)), length)
    column = np.arange(len(epochs)) - np.repeat(starts, length)

    def laid(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
        array = np.full((len(starts), longest), np.nan)
        array[row, column] = values.to_numpy(dtype=float)
        return array

    seconds = laid(epochs["seconds"])
    unknown = np.isnan(seconds)
    spent = np.where(unknown, np.nan, np.cumsum(np.where(unknown, 0.0, seconds), axis=1))
    scores = np.stack([laid(epochs[f"{split}_accuracy"]) for split in _TIMED], axis=1)
    held = scores[:, :, None, :] >= np.asarray(targets, dtype=float)[:, None]
    run: npt.NDArray[np.int64] = np.cumsum(held, axis=-1, dtype=np.int64)
    run[..., hold:] -= run[..., :-hold].copy()
    whole = run[..., hold - 1 :] == hold
    reached = whole.any(axis=-1) & lasts[:, None, None]
    at = np.where(reached, whole.argmax(axis=-1), (length - 1)[:, None, None])
    until = np.take_along_axis(spent, at.reshape(len(at), -1), axis=1).reshape(at.shape)
    told = np.asarray(~np.isnan(scores).all(axis=-1))
    return told, np.asarray(reached), np.asarray(at), np.asarray(until)


@once
def check_table(frames: Frames) -> pd.DataFrame:
    """What was declared and found live: a row per arm and check, over the arm's trials.

    Columns: `arm`, `name`, `declared`, `found` (of the first trial, or of the first that failed),
    `live` (trials in which it held), `trials`.
    """
    rows = [
        {"arm": arm, **check}
        for arm, checks in frames.trials[["arm", "checks"]].itertuples(index=False)
        for check in (checks if isinstance(checks, list) else [])
    ]
    columns = ["arm", "name", "declared", "found", "live", "trials"]
    if not rows:
        return pd.DataFrame(columns=columns)
    found = pd.DataFrame(rows).sort_values("live", kind="stable")
    groups = found.groupby(["arm", "name", "declared"], sort=False)
    table = groups.agg(found=("found", "first"), live=("live", "sum"), trials=("live", "size"))
    return table.reset_index()[columns]


def seed_table(frames: Frames) -> pd.DataFrame:
    """Final test accuracy of every trial that counts: `arm`, `seed`, `id`, `test_accuracy`."""
    counted = frames.trials[frames.trials["state"].isin(COUNTED)]
    return counted[["arm", "seed", "id", "test_accuracy"]].reset_index(drop=True)
