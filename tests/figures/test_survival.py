from collections.abc import Callable

import pytest

from normlab.figures import NotDrawnError, Source
from normlab.figures.survival import Survival
from normlab.frames import Frames

Make = Callable[..., Frames]
FIGURE = Survival(kind="survival", target=0.9, clock="examples")


def test_the_curve_falls_where_trials_get_there_and_ends_at_the_longest_training(
    make: Make,
) -> None:
    made = make({"a": [[0.9, 0.9, 0.9], [0.5, 0.9, 0.9], [0.5] * 3, [0.5] * 3], "b": [[0.5] * 3]})
    rows = FIGURE.rows(Source(made))
    columns = ["arm", "time", "share", "at_risk", "reached", "censored"]
    assert rows[columns].to_numpy().tolist() == [
        ["a", 0, 100, 4, 0, 0],
        ["a", 100, 75, 4, 1, 0],
        ["a", 200, 50, 3, 1, 0],
        ["a", 300, 50, 2, 0, 2],
        ["b", 0, 100, 1, 0, 0],
        ["b", 300, 100, 1, 0, 1],
    ]
    drawn = FIGURE.draw(Source(made))
    assert "It was reached by a 2 of 4, no trial of 1 arm." in drawn.caption
    drawn.chart.to_dict()


def test_where_all_get_there_it_ends_at_zero(make: Make) -> None:
    made = make({"a": [[0.9, 0.9]], "b": [[0.5, 0.9]]})
    assert FIGURE.rows(Source(made)).groupby("arm")["share"].last().tolist() == [0, 0]
    assert "It was reached by all trials." in FIGURE.draw(Source(made)).caption


def test_without_the_split_there_is_nothing_to_draw(make: Make) -> None:
    made = make({"a": [[0.9]], "b": [[0.9]]})
    made.epochs["validation_accuracy"] = float("nan")
    with pytest.raises(NotDrawnError, match="no trial has measured Images until 90 % validation"):
        FIGURE.rows(Source(made))
