from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from normlab.records import EpochRecord
from normlab.report import Frames, arm_table, curve_table, load_frames, seed_table
from normlab.store import Store

PLAN = {
    "name": "s",
    "question": "?",
    "arms": [{"label": label, "parameters": 10} for label in ("b", "a", "late")],
}
IMAGES = 100


def frames(
    scores: dict[str, list[float | None]], states: dict[tuple[str, int], str] | None = None
) -> Frames:
    """A study of three arms with the given final test accuracies, one epoch each."""
    epochs, trials = [], []
    for arm, values in scores.items():
        for seed, value in enumerate(values):
            ids = {"arm": arm, "seed": seed, "id": f"{arm}{seed}"}
            done = value is not None
            numbers = {field.name: 0.5 if done else None for field in fields(EpochRecord)}
            last = {**numbers, "epoch": 1 if done else None, "test_accuracy": value, "seconds": 2.0}
            if done:
                epochs.append({**ids, **last})
            state = (states or {}).get((arm, seed), "complete" if done else "pending")
            trials.append(
                {**ids, **last, "state": state, "test_images": IMAGES, "validation_images": IMAGES}
            )
    return Frames(PLAN, pd.DataFrame(trials), pd.DataFrame(epochs))


def test_arms_have_the_mean_and_t_interval_over_seeds_in_the_plan_s_order() -> None:
    values = [0.90, 0.94, 0.95]
    table = arm_table(frames({"a": [0.5, 0.5, 0.5], "b": values, "late": [None, None, None]}))
    assert table["arm"].tolist() == ["b", "a", "late"]
    row = table.iloc[0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row.test_mean, row.test_low) == pytest.approx((np.mean(values), low))
    assert row.test_high == pytest.approx(min(high, 1.0))
    assert row.seconds == 2.0


def test_zero_spread_keeps_the_resolution_of_the_test_set() -> None:
    row = arm_table(frames({"b": [0.5, 0.5, 0.5], "a": [0.5], "late": [None]})).iloc[0]
    assert row.test_high - row.test_low == pytest.approx(
        2 * 4.302653 * (0.01 / 12**0.5) / 3**0.5, rel=1e-5
    )


def test_intervals_stay_within_what_an_accuracy_can_be() -> None:
    row = arm_table(frames({"b": [0.1, 0.9], "a": [0.5], "late": [None]})).iloc[0]
    assert (row.test_low, row.test_high) == (0.0, 1.0)


def test_one_seed_has_no_interval_and_an_unfinished_arm_no_mean() -> None:
    table = arm_table(frames({"b": [0.9], "a": [0.5, None], "late": [None]})).set_index("arm")
    assert np.isnan(table.loc["b", "test_low"])
    assert (table.loc["a", "finished"], table.loc["a", "planned"]) == (1, 2)
    assert np.isnan(table.loc["late", "test_mean"])


def test_diverged_trials_count_and_failed_and_invalid_ones_do_not() -> None:
    states = {("b", 1): "diverged", ("a", 1): "failed", ("late", 1): "invalid"}
    scores: dict[str, list[float | None]] = {"b": [0.9, 0.1], "a": [0.9, 0.1], "late": [0.9, 0.1]}
    made = frames(scores, states)
    table = arm_table(made).set_index("arm")
    assert table["test_mean"].to_dict() == pytest.approx({"b": 0.5, "a": 0.9, "late": 0.9})
    counts = table[["diverged", "failed", "invalid"]].to_numpy().tolist()
    assert counts == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert len(seed_table(made)) == 4


def test_curves_are_means_with_intervals_per_split_and_epoch(finished: Path) -> None:
    with Store.read(finished) as store:
        made = load_frames(store)
    table = curve_table(made, "accuracy").set_index(["arm", "split", "epoch"])
    values = made.epochs.query("arm == 'batch' and epoch == 2")["validation_accuracy"]
    row = table.loc[("batch", "validation", 2)]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["seeds"] == 2
    low, high = stats.t.interval(0.95, 1, values.mean(), stats.sem(values))
    assert (row["low"], row["high"]) == pytest.approx((max(low, 0), min(high, 1)))


def test_curves_leave_failed_and_invalid_trials_out() -> None:
    scores: dict[str, list[float | None]] = {"b": [0.9, 0.1], "a": [0.9, 0.1], "late": [0.9, 0.1]}
    states = {("b", 1): "invalid", ("a", 1): "failed", ("late", 1): "running"}
    table = curve_table(frames(scores, states), "accuracy").query("split == 'test'")
    assert table.set_index("arm")["mean"].to_dict() == pytest.approx(
        {"b": 0.9, "a": 0.9, "late": 0.5}
    )


def test_frames_hold_every_planned_trial_with_its_last_epoch(finished: Path) -> None:
    with Store.read(finished) as store:
        made = load_frames(store)
    assert len(made.trials) == 6
    complete = made.trials[made.trials["state"] == "complete"]
    assert complete["epoch"].tolist() == [3] * 4
    assert complete["seconds"].gt(0).all()
    last = made.epochs.query("epoch == 3").set_index("id")["test_accuracy"]
    assert complete.set_index("id")["test_accuracy"].to_dict() == last.loc[complete["id"]].to_dict()
    assert set(made.trials["state"]) == {"complete", "diverged"}
