"""The report's times to accuracy: which targets, and how they compare with the fastest arm's."""

from typing import Any

import pandas as pd
import pytest
from tests.plans import plan_of

from normlab.frames import Frames
from normlab.frames.times import USUAL, Target, own_targets, report_times

FIGURES = [
    {"name": "survival", "kind": "survival", "options": {"target": 0.6, "hold": 2}},
    {
        "name": "dots",
        "kind": "dots",
        "options": {"metrics": ["gap", {"kind": "time_to", "target": 0.7, "hold": 1}]},
    },
    {"name": "curves", "kind": "curves", "options": {"metric": "accuracy"}},
]
CLAIM = {
    "name": "c", "kind": "faster", "says": None, "source": None, "published": {}, "confound": None,
    "metric": None, "at": "last", "margin": 0.1, "test": "permutation", "sides": [["a"], ["b"]],
    "time": {"target": 0.87, "split": "train", "clock": "seconds", "hold": 1},
}  # fmt: skip


def frames(values: dict[str, list[list[float]]], **plan: Any) -> Frames:
    """Per arm and seed the training accuracies; an epoch has 100 images and takes 2 seconds."""
    trials, epochs = [], []
    for arm, seeds in values.items():
        for seed, accuracies in enumerate(seeds):
            ids = {"arm": arm, "seed": seed, "id": f"{arm}{seed}"}
            trials.append({**ids, "state": "complete", "train_images": 100})
            epochs += [
                {**ids, "epoch": epoch, "seconds": 2.0, "train_accuracy": accuracy,
                 "validation_accuracy": float("nan")}
                for epoch, accuracy in enumerate(accuracies, start=1)
            ]  # fmt: skip
    made = plan_of([{"label": arm} for arm in values], **plan)
    return Frames(made, pd.DataFrame(trials), pd.DataFrame(epochs))


def test_a_study_s_own_targets_are_those_of_its_claims_and_figures() -> None:
    made = frames({"a": [[0.5]], "b": [[0.5]]}, figures=FIGURES, claims=[CLAIM])
    assert own_targets(made.plan) == [Target(0.6, 2), Target(0.7), Target(0.87)]


def test_they_stand_beside_the_usual_ones_and_are_marked() -> None:
    made = frames({"a": [[0.5, 0.65, 0.66]], "b": [[0.99] * 3]}, figures=FIGURES, claims=[CLAIM])
    table = report_times(made).query("arm == 'a'").set_index(["target", "hold"])
    assert set(table.index) == {*((t, 1) for t in USUAL), (0.6, 2), (0.7, 1), (0.87, 1)}
    assert set(table.query("own").index) == {(0.6, 2), (0.7, 1), (0.87, 1)}
    row = table.loc[(0.6, 2)]
    assert (row["reached"], row["epochs"], row["seconds"]) == (True, 2, 4.0)


def test_a_usual_target_that_is_the_study_s_own_too_is_there_once() -> None:
    figure = {"name": "s", "kind": "survival", "options": {"target": 0.9, "hold": 1}}
    table = report_times(frames({"a": [[0.9]]}, figures=[figure]))
    assert table.query("target == 0.9")["own"].tolist() == [True]


def test_ratios_are_to_the_mean_of_the_fastest_arm_that_always_got_there() -> None:
    made = frames(
        {
            "a": [[0.1, 0.9], [0.1, 0.1, 0.1, 0.9]],  # 2 and 4 epochs, on average 3
            "b": [[0.1] * 5 + [0.9], [0.1] * 5 + [0.9]],  # 6 epochs
            "lucky": [[0.9], [0.1, 0.1]],  # once in 1 epoch, once never
        }
    )
    table = report_times(made).query("target == 0.9").set_index("id")
    for clock in ("seconds_ratio", "examples_ratio"):
        assert table[clock].to_dict() == pytest.approx(
            {"a0": 2 / 3, "a1": 4 / 3, "b0": 2, "b1": 2, "lucky0": 1 / 3, "lucky1": 2 / 3}
        )


def test_where_no_arm_always_got_there_is_no_ratio() -> None:
    table = report_times(frames({"a": [[0.9], [0.1]]})).query("target == 0.9")
    assert table[["seconds_ratio", "examples_ratio"]].isna().all(axis=None)


def test_without_a_finished_trial_the_table_is_empty_with_its_columns() -> None:
    made = frames({"a": [[0.9]]})
    made.trials["state"] = "running"
    table = report_times(made)
    assert not len(table)
    assert {"hold", "own", "seconds_ratio", "examples_ratio"} <= set(table)
