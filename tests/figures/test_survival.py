from collections.abc import Callable
from typing import Any

import pytest

from normlab.figures import NotDrawnError
from normlab.figures.survival import draw, survival_rows
from normlab.frames import Frames

Make = Callable[..., Frames]
RECORD: dict[str, Any] = {
    "heading": None,
    "arms": ["a", "b"],
    "target": 0.9,
    "split": "validation",
    "clock": "examples",
    "hold": 1,
}


def test_the_curve_falls_where_trials_get_there_and_ends_at_the_longest_training(
    make: Make,
) -> None:
    made = make({"a": [[0.9, 0.9, 0.9], [0.5, 0.9, 0.9], [0.5] * 3, [0.5] * 3], "b": [[0.5] * 3]})
    rows = survival_rows(made, RECORD)
    columns = ["arm", "time", "share", "at_risk", "reached", "censored"]
    assert rows[columns].to_numpy().tolist() == [
        ["a", 0, 100, 4, 0, 0],
        ["a", 100, 75, 4, 1, 0],
        ["a", 200, 50, 3, 1, 0],
        ["a", 300, 50, 2, 0, 2],
        ["b", 0, 100, 1, 0, 0],
        ["b", 300, 100, 1, 0, 1],
    ]
    drawn = draw(made, RECORD)
    assert "It was reached by a 2 of 4, no trial of 1 arm." in drawn.caption
    drawn.chart.to_dict()


def test_where_all_get_there_it_ends_at_zero(make: Make) -> None:
    made = make({"a": [[0.9, 0.9]], "b": [[0.5, 0.9]]})
    assert survival_rows(made, RECORD).groupby("arm")["share"].last().tolist() == [0, 0]
    assert "It was reached by all trials." in draw(made, RECORD).caption


def test_without_the_split_there_is_nothing_to_draw(make: Make) -> None:
    made = make({"a": [[0.9]], "b": [[0.9]]})
    made.epochs["validation_accuracy"] = float("nan")
    with pytest.raises(NotDrawnError, match="no trial has measured Images until 90 % validation"):
        survival_rows(made, RECORD)
