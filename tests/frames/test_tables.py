from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.plans import plan_of

from normlab.frames import (
    Frames,
    arm_table,
    check_table,
    curve_table,
    load_frames,
    seed_table,
    time_table,
)
from normlab.records import EpochRecord
from normlab.store import Store

PLAN = plan_of({"label": label, "parameters": 10} for label in ("b", "a", "late"))
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
            result = {
                "state": state,
                "train_images": 5 * IMAGES,
                "test_images": IMAGES,
                "validation_images": IMAGES,
                "gap": 0.1,
                "flops": 1000,
                "checks": [],
            }
            trials.append({**ids, **last, **result})
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
    row = arm_table(frames({"b": [0.1, 0.9, 0.5], "a": [0.5], "late": [None]})).iloc[0]
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


def test_curves_are_means_with_intervals_per_split_and_epoch(
    finished: Path, illustrated: Path
) -> None:
    with Store.read(finished) as store:
        two = curve_table(load_frames(store), "accuracy")
    assert set(two["seeds"]) == {2}
    assert two["low"].isna().all()
    with Store.read(illustrated) as store:
        made = load_frames(store)
    arm = made.arms[0]
    table = curve_table(made, "accuracy").set_index(["arm", "split", "epoch"])
    values = made.epochs.query("arm == @arm and epoch == 2")["validation_accuracy"]
    row = table.loc[(arm, "validation", 2)]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["seeds"] == 3
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
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


def test_an_arm_s_memory_is_the_most_of_its_trials() -> None:
    made = frames({"a": [0.5, 0.5, 0.5], "b": [0.5], "late": [None]})
    assert arm_table(made)["peak_memory"].isna().all()  # of trials that do not tell
    peaks = {"a0": 3e9, "a1": 5e9, "a2": None, "b0": 1e9, "late0": None}
    known = made.trials.assign(peak_memory=made.trials["id"].map(peaks).astype(object))
    table = arm_table(Frames(made.plan, known, made.epochs)).set_index("arm")["peak_memory"]
    assert (table["a"], table["b"]) == (5e9, 1e9)
    assert np.isnan(table["late"])


def curves(accuracies: list[float], validation: list[float] | None = None) -> Frames:
    """One trial of 500 training images, 2 seconds an epoch, with these training accuracies."""
    made = frames({"b": [0.5], "a": [], "late": []})
    (row,) = made.epochs.to_dict("records")
    epochs = [
        {**row, "epoch": n, "train_accuracy": a, "validation_accuracy": v}
        for n, (a, v) in enumerate(zip(accuracies, validation or accuracies, strict=True), start=1)
    ]
    return Frames(made.plan, made.trials, pd.DataFrame(epochs))


def test_time_to_accuracy_is_that_of_the_first_epoch_that_reaches_it() -> None:
    table = time_table(curves([0.5, 0.9, 0.8, 0.95]), [0.9])
    row = table.query("split == 'train'").iloc[0]
    assert (row.reached, row.epochs, row.examples, row.seconds) == (True, 2, 1000, 4.0)


def test_held_for_two_evaluations_it_is_the_first_of_the_two() -> None:
    table = time_table(curves([0.5, 0.9, 0.8, 0.95, 0.96]), [0.9], hold=2)
    row = table.query("split == 'train'").iloc[0]
    assert (row.reached, row.epochs, row.seconds) == (True, 4, 8.0)


def test_a_target_never_reached_is_censored_at_the_budget() -> None:
    table = time_table(curves([0.5, 0.9]), [0.99], hold=2)
    row = table.query("split == 'train'").iloc[0]
    assert (row.reached, row.epochs, row.examples, row.seconds) == (False, 2, 1000, 4.0)


def test_times_are_on_train_and_on_validation_and_on_what_there_is() -> None:
    table = time_table(curves([0.9, 0.9], [0.5, 0.9]), [0.5, 0.9])
    found = table.set_index(["split", "target"])["epochs"].to_dict()
    assert found == {
        ("train", 0.5): 1,
        ("train", 0.9): 1,
        ("validation", 0.5): 1,
        ("validation", 0.9): 2,
    }
    none = [float("nan")] * 2
    assert set(time_table(curves([0.9, 0.9], none), [0.5])["split"]) == {"train"}


def test_checks_are_counted_per_arm_and_a_failed_one_is_the_one_shown() -> None:
    made = frames({"b": [0.9, 0.8], "a": [], "late": []})
    check = {"name": "norm", "declared": "3 batch"}
    made.trials["checks"] = [
        [{**check, "found": "3", "live": True}],
        [{**check, "found": "2", "live": False}],
    ]
    (row,) = check_table(made).to_dict("records")
    assert (row["found"], row["live"], row["trials"]) == ("2", 1, 2)
