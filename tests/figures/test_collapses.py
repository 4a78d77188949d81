"""`collapses`: the trials that never learned, counted by the cells of factors."""

from collections.abc import Callable
from typing import Any

import pytest

from normlab.errors import UserError
from normlab.figures import FIGURES, NotDrawnError, Source
from normlab.frames import Frames
from normlab.stats.collapse import fractions
from normlab.study.resolve import outline
from normlab.study.spec import Study

Make = Callable[..., Frames]

ARMS: list[dict[str, Any]] = [
    {"label": "a", "levels": {"batch_size": 16, "norm": "none"}, "classes": 10},
    {"label": "b", "levels": {"batch_size": 64, "norm": "none"}, "classes": 10},
    {"label": "c", "levels": {"batch_size": 16, "norm": "batch"}, "classes": 10},
    {"label": "d", "levels": {"batch_size": 64, "norm": "batch"}, "classes": 10},
]
# Twice chance is 0.2: what ends at 0.19 collapsed, what ends at 0.2 did not.
SCORES = {
    "a": [[0.9, 0.1], [0.1, 0.19], [0.1, 0.9]],
    "b": [[0.9], [0.2], [0.9]],
    "c": [[0.1], [0.9], [0.9]],
    "d": [[0.9], [0.9], [0.9]],
}


def drawn(frames: Frames, **keys: Any) -> Any:
    return FIGURES["collapses"].parse({"kind": "collapses", **keys}).draw(Source(frames))


def test_each_cell_counts_the_trials_that_end_below_twice_chance(make: Make) -> None:
    found = drawn(make(SCORES, arms=ARMS), x="batch_size", y="norm")
    cells = found.data.set_index(["y", "x"])
    assert cells["collapsed"].to_dict() == {
        ("none", "16"): 2, ("none", "64"): 0, ("batch", "16"): 1, ("batch", "64"): 0,
    }  # fmt: skip
    assert cells["trials"].eq(3).all()
    row = cells.loc[("none", "16")]
    (share,), (low,), (high,) = fractions([2], [3])
    assert (row["share"], row["low"], row["high"]) == pytest.approx((share, low, high))
    assert "below 20 %" in found.caption
    assert "In all, 3 of 12." in found.caption


def test_with_one_factor_arms_of_a_level_are_added_up(make: Make) -> None:
    found = drawn(make(SCORES, arms=ARMS), x="batch_size")
    assert found.data[["x", "collapsed", "trials"]].to_numpy().tolist() == [
        ["16", 3, 6],
        ["64", 0, 6],
    ]


def test_what_did_not_finish_does_not_count_and_a_diverged_trial_earned_chance(make: Make) -> None:
    scores = {**SCORES, "d": [[float("nan")], [0.9], [0.9]]}
    states = {("a", 0): "running", ("a", 1): "failed", ("a", 2): "invalid", ("d", 0): "diverged"}
    found = drawn(make(scores, arms=ARMS, states=states), x="batch_size", y="norm")
    cells = found.data.set_index(["y", "x"])
    assert ("none", "16") not in cells.index
    assert cells.loc[("batch", "64"), "collapsed"] == 1


def test_an_arm_that_stands_in_every_row_is_counted_once_in_all(make: Make) -> None:
    arms = [{"label": "a", "levels": {"batch_size": 16}, "classes": 10}, ARMS[1], ARMS[3]]
    found = drawn(make({k: SCORES[k] for k in "abd"}, arms=arms), x="batch_size", y="norm")
    assert len(found.data.query("x == '16'")) == 2
    assert "In all, 2 of 9." in found.caption
    assert "In every row that has nothing else there: a." in found.caption


def test_numbers_ascend_and_other_levels_are_in_the_study_s_order(make: Make) -> None:
    arms = [{**arm, "levels": {**arm["levels"], "batch_size": size}}
            for arm, size in zip(ARMS, (128, 16, 128, 16), strict=True)]  # fmt: skip
    chart = drawn(make(SCORES, arms=arms), x="batch_size", y="norm").chart.to_dict()
    encoding = chart["layer"][0]["encoding"]
    assert encoding["x"]["sort"] == ["16", "128"]
    assert encoding["y"]["sort"] == ["none", "batch"]


def test_without_a_finished_trial_or_classes_it_says_so(make: Make) -> None:
    states = {(arm, seed): "running" for arm in SCORES for seed in range(3)}
    with pytest.raises(NotDrawnError, match="no trial has finished"):
        drawn(make(SCORES, arms=ARMS, states=states), x="batch_size")
    unknown = [{**arm, "classes": None} for arm in ARMS]
    with pytest.raises(NotDrawnError, match="how many classes"):
        drawn(make(SCORES, arms=unknown), x="batch_size")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"x": "batchsize"}, "unknown factor 'batchsize'.*'batch_size'"),
        ({"x": "norm", "y": "norm"}, "norm is x and cannot be"),
        ({"y": "norm"}, "x: is required"),
    ],
    ids=str,
)
def test_its_factors_must_be_there(keys: dict[str, str], message: str) -> None:
    content = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "factors": {"norm": ["batch", "none"], "batch_size": [16, 64]},
        "seeds": 2,
        "figures": [{"kind": "collapses", **keys}],
    }
    with pytest.raises(UserError, match=message):
        outline(Study.parse(content))
