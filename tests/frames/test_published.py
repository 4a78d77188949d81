"""Published numbers beside ours: in the source's own measure, with what must be known of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.figures.conftest import made

from normlab.frames import published_table
from normlab.frames.published import COLUMNS, published_notes
from normlab.frames.scores import score_array

SCORES = {"a": [[0.90, 0.96], [0.94, 0.92], [0.97, 0.98]], "b": [[0.80, 0.82]]}
"""Accuracies of every epoch of three trials of one arm and one of another."""


def row(arm: str = "a", **values: Any) -> dict[str, Any]:
    keys = {key: values.pop(key) for key in ("at", "printed", "divided_by") if key in values}
    keys |= {key: values.pop(key) for key in ("run", "note", "split", "source") if key in values}
    return {"arms": [arm], "values": values, **keys}


def table(*rows: dict[str, Any], scores: dict[str, Any] = SCORES, **plan: Any) -> pd.DataFrame:
    frames = made(scores, published=list(rows), **plan)
    return published_table(frames.plan, frames)


def test_the_best_epoch_is_each_metric_s_own() -> None:
    frames = made(SCORES)
    best = score_array(frames, "test_accuracy", "best_test")
    assert best[0].tolist() == [0.96, 0.94, 0.98]
    assert score_array(frames, "train_accuracy", "best_test")[0].tolist() == best[0].tolist()
    # Losses are 1 minus the accuracy, and turned round: less is better.
    lowest = -score_array(frames, "test_loss", "best_test")
    assert lowest[0].tolist() == pytest.approx([0.04, 0.06, 0.02])


def test_ours_is_the_mean_with_its_interval_in_the_source_s_measure_and_unit() -> None:
    (found,) = table(row(test_accuracy=95.0, at="best_test")).to_dict("records")
    best = [96.0, 94.0, 98.0]
    low, high = stats.t.interval(0.95, 2, np.mean(best), stats.sem(best))
    assert (found["ours"], found["seeds"], found["difference"]) == pytest.approx((96, 3, 1))
    assert (found["low"], found["high"]) == pytest.approx((low, min(high, 100)))
    assert (found["at"], found["measure"]) == ("its best epoch, biased", "Test accuracy, %")


def test_the_study_s_own_epoch_stands_beside_another_one() -> None:
    (found,) = table(row(test_accuracy=95.0, at="best_test")).to_dict("records")
    last = [96.0, 92.0, 98.0]
    low, _ = stats.t.interval(0.95, 2, np.mean(last), stats.sem(last))
    assert found["judged_at"] == "last epoch"
    assert (found["judged"], found["judged_low"]) == pytest.approx((np.mean(last), low))
    (same,) = table(row(test_accuracy=95.0)).to_dict("records")
    assert (same["at"], same["judged_at"]) == ("last epoch", "")
    assert same["ours"] == pytest.approx(np.mean(last))
    assert np.isnan(same["judged"])


@pytest.mark.parametrize(("seeds", "has_interval"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_seeds_have_no_interval(seeds: int, has_interval: bool) -> None:
    (found,) = table(row(test_accuracy=95.0), scores={"a": SCORES["a"][:seeds]}).to_dict("records")
    assert found["seeds"] == seeds
    assert np.isfinite([found["low"], found["high"]]).tolist() == [has_interval] * 2


def test_trials_that_do_not_count_are_left_out() -> None:
    states = {("a", 1): "invalid", ("a", 2): "failed"}
    (found,) = table(row(test_accuracy=95.0), states=states).to_dict("records")
    assert (found["ours"], found["seeds"]) == (pytest.approx(96.0), 1)


def test_a_converted_number_keeps_what_was_printed() -> None:
    one = row(test_loss=0.064, printed={"test_loss": 0.002}, divided_by={"test_loss": 32})
    found = table(one)
    (numbers,) = found.to_dict("records")
    assert (numbers["published"], numbers["printed"]) == (0.064, 0.002)
    ours = np.mean([0.04, 0.08, 0.02])
    assert (numbers["ours"], numbers["difference"]) == pytest.approx((ours, ours - 0.064))
    (note,) = published_notes(made(SCORES, published=[one]).plan, found)
    assert "test loss were divided by 32: they are multiplied by it here" in note


def test_measures_follow_one_another_each_in_the_plan_s_order_of_arms() -> None:
    found = table(row("b", test_accuracy=1, test_loss=1), row("a", test_loss=1, test_accuracy=1))
    assert found["metric"].tolist() == ["test_accuracy"] * 2 + ["test_loss"] * 2
    assert found["arm"].tolist() == ["a", "b"] * 2


def test_several_numbers_of_one_arm_are_told_apart() -> None:
    found = table(row(test_accuracy=90, run="first"), row(test_accuracy=99, run="second"))
    assert found[["run", "published"]].to_numpy().tolist() == [["first", 90], ["second", 99]]
    assert found["ours"].nunique() == 1


def test_words_are_shown_without_a_difference() -> None:
    (found,) = table(row(test_accuracy="about 90")).to_dict("records")
    assert found["published"] == "about 90"
    assert found["ours"] == pytest.approx(np.mean([96, 92, 98]))
    assert np.isnan(found["difference"])


def test_a_column_that_normlab_does_not_measure_is_shown_alone_with_the_reason() -> None:
    (found,) = table(row(watts=300.0)).to_dict("records")
    assert (found["published"], found["measure"], found["at"]) == (300.0, "watts", "")
    assert np.isnan([found["ours"], found["difference"]]).all()
    assert found["note"] == "normlab has no measure 'watts', so there is none of ours"


def test_parameters_are_the_model_s() -> None:
    arms = [{"label": "a", "parameters": 7288}]
    (found,) = table(row(parameters=7000.0), scores={"a": SCORES["a"]}, arms=arms).to_dict(
        "records"
    )
    assert (found["ours"], found["difference"], found["measure"]) == (7288, 288, "Parameters")


def test_a_time_is_until_the_split_s_accuracy_and_says_who_never_got_there() -> None:
    # An epoch takes 2 seconds: 0.95 is reached by the second trial never.
    one = row(**{"seconds_to_0.95": 3.0}, split="train")
    found, missed = table(
        one, row("b", **{"seconds_to_0.95": 1.0}, split="train")
    ).to_dict("records")  # fmt: skip
    assert found["measure"] == "Seconds until 95 % running training accuracy"
    assert (found["ours"], found["difference"]) == pytest.approx(
        (np.mean([4, 4, 2]), np.mean([4, 4, 2]) - 3)
    )
    assert found["note"].startswith("2 of our 3 trials got there")
    assert np.isnan([missed["ours"], missed["difference"]]).all()
    assert missed["note"] == "none of our 1 trial got there"


def test_of_a_rehearsal_no_difference_is_taken() -> None:
    (found,) = table(row(test_accuracy=95.0), rehearsal=True).to_dict("records")
    assert np.isfinite(found["ours"])
    assert np.isnan(found["difference"])


def test_an_arm_that_never_learned_in_a_rehearsal_has_no_number() -> None:
    scores = {"a": SCORES["a"], "b": [[0.1, 0.11], [0.1, 0.1]]}
    rows = [row(test_accuracy=95.0), row("b", test_accuracy=90.0)]
    learned, never = table(*rows, scores=scores, rehearsal=True).to_dict("records")
    assert np.isfinite(learned["ours"])
    assert np.isnan(never["ours"])
    assert never["note"] == "none of its trials learned in the rehearsal"
    # In the study itself that is a finding.
    _, found = table(*rows, scores=scores).to_dict("records")
    assert found["ours"] == pytest.approx(10.5)


def test_without_trials_the_published_numbers_stand_alone() -> None:
    plan = made(SCORES, published=[row(test_accuracy=95.0), row(watts=1)]).plan
    found = published_table(plan)
    assert tuple(found) == COLUMNS
    assert found["published"].tolist() == [95.0, 1]
    assert found["ours"].isna().all()
    assert found["seeds"].tolist() == [0, 0]
    assert found["note"].tolist() == ["", ""]


def test_a_study_without_published_numbers_has_an_empty_table() -> None:
    found = table()
    assert (tuple(found), len(found)) == (COLUMNS, 0)
    assert published_notes(made(SCORES).plan, found) == []


def test_notes_name_their_arms_unless_they_hold_for_all() -> None:
    rows = [
        row(test_accuracy=95.0, note="an outlier; mind it", source="Table 1"),
        row("b", test_accuracy=90.0, source="Table 2"),
    ]
    plan = made(SCORES, published=rows, published_notes=["one run each"]).plan
    assert published_notes(plan, published_table(plan)) == [
        "Published: Table 1; Table 2",
        "one run each",
        "a: an outlier; mind it",
    ]
    every = [row(arm, test_accuracy=90.0, note="rounded") for arm in "ab"]
    plan = made(SCORES, published=every).plan
    assert published_notes(plan, published_table(plan)) == ["rounded"]


def test_the_bias_of_the_best_epoch_is_said() -> None:
    plan = made(SCORES, published=[row(test_accuracy=95.0, at="best_test")]).plan
    (note,) = published_notes(plan, published_table(plan))
    assert "biased" in note
    assert "judges nothing" in note
