"""Figures of metrics after training: seeds, means, intervals and published numbers."""

import re
from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd
import pytest
import vl_convert
from scipy import stats

from normlab.figures import FIGURES, Drawn, Figure, NotDrawnError, Source
from normlab.figures.drawing import VEGA_LITE, specification
from normlab.figures.measures import part
from normlab.figures.style import named_axis
from normlab.frames import Frames

Make = Callable[..., Frames]
SCORES = {"a": [[0.90], [0.92], [0.97]], "b": [[0.80], [0.84], [0.82]]}


def dots(*metrics: object, kind: str = "dots", **values: object) -> Figure:
    record = {"kind": kind, "arms": ["a", "b"], "at": "last", **values}
    return FIGURES[kind].parse({**record, "metrics": list(metrics) or ["test_accuracy"]})


def arm_rows(frames: Frames, figure: Figure) -> pd.DataFrame:
    return figure.rows(Source(frames))


def test_an_arm_has_its_seeds_mean_and_t_interval_in_percent(make: Make) -> None:
    rows = arm_rows(make(SCORES), dots())
    (mean,) = part(rows, "mean").query("arm == 'a'").to_dict("records")
    low, high = stats.t.interval(0.95, 2, 93.0, stats.sem([90, 92, 97]))
    assert mean["value"] == pytest.approx(93.0)
    assert (mean["low"], mean["high"]) == pytest.approx((low, min(high, 100)))
    assert mean["seeds"] == 3
    seeds = part(rows, "seed").query("arm == 'b'")
    assert seeds[["seed", "id"]].to_numpy().tolist() == [[0, "b0"], [1, "b1"], [2, "b2"]]
    assert seeds["value"].tolist() == pytest.approx([80, 84, 82])


def test_trials_that_do_not_count_are_left_out_and_two_seeds_have_no_interval(make: Make) -> None:
    scores = {"a": [[0.5], [0.92], [0.97], [0.93]], "b": [[0.8], [0.84], [0.1], [0.2]]}
    states = {("a", 0): "invalid", ("b", 2): "failed", ("b", 3): "running"}
    means = part(arm_rows(make(scores, states=states), dots()), "mean").set_index("arm")
    assert means["value"].to_dict() == pytest.approx({"a": 94.0, "b": 82.0})
    assert means["low"].notna().to_dict() == {"a": True, "b": False}


def test_another_metric_has_its_own_unit_and_the_sign_it_was_measured_with(make: Make) -> None:
    rows = arm_rows(make(SCORES), dots("test_loss", "seconds", "gap"))
    assert list(dict.fromkeys(rows["metric"])) == [
        "Test loss",
        "Training seconds",
        "Overfitting gap, points",
    ]
    means = part(rows, "mean").query("arm == 'b'")["value"].tolist()
    assert means == pytest.approx([0.18, 2.0, 1.0])


def test_at_an_epoch_it_is_that_epoch_s(make: Make) -> None:
    rows = arm_rows(make({"a": [[0.5, 0.9]], "b": [[0.4, 0.8]]}), dots(at=1))
    assert part(rows, "mean")["value"].tolist() == pytest.approx([50, 40])


def test_published_numbers_stand_beside_the_arm_they_are_of(make: Make) -> None:
    published = [
        {"arms": ["a"], "values": {"test_accuracy": 91.5, "seconds": "about 3"}},
        {"arms": ["b"], "values": {"test_loss": 0.2}},
    ]
    rows = arm_rows(make(SCORES, published=published), dots("test_accuracy", "test_loss"))
    printed = part(rows, "published")[["metric", "arm", "value"]].to_numpy().tolist()
    assert printed == [["Test accuracy, %", "a", 91.5], ["Test loss", "b", 0.2]]


def test_every_number_that_was_printed_of_an_arm_is_shown(make: Make) -> None:
    published = [{"arms": ["a"], "values": {"test_accuracy": value}} for value in (90, 93)]
    rows = arm_rows(make(SCORES, published=published), dots())
    assert part(rows, "published")["value"].tolist() == [90, 93]
    published.append({"arms": ["b"], "values": {"test_accuracy": 80}})
    published = [*published, {"arms": ["c"], "values": {"test_accuracy": 70}}]
    points = [("a", 1, "x"), ("b", 1, "x"), ("c", 2, "x")]
    frames = at_points(make, {**SCORES, "c": SCORES["a"]}, points, published=published)
    rows = factor(points).rows(Source(frames))
    assert part(rows, "published")["value"].tolist() == [(91.5 + 80) / 2, 70]


def test_a_caption_says_where_the_source_took_another_epoch(make: Make) -> None:
    published = [{"arms": ["a"], "at": "best_test", "values": {"test_accuracy": 91.5}}]
    rows = arm_rows(make(SCORES, published=published), dots())
    assert "what the source printed (its best epoch, biased)." in dots().reading(rows)
    points = [("a", 1, "x"), ("b", 2, "x")]
    rows = factor(points).rows(Source(at_points(make, SCORES, points, published=published)))
    assert "what the source printed (its best epoch, biased)." in factor(points).reading(rows)
    early = arm_rows(make(SCORES, published=published), dots(at=1))
    assert not len(part(early, "published"))  # of one epoch, which the source did not print
    assert "diamond" not in dots(at=1).reading(early)
    same = [{**published[0], "at": "last"}]
    rows = arm_rows(make(SCORES, published=same), dots())
    assert "what the source printed." in dots().reading(rows)


def test_a_published_time_of_another_split_is_not_shown(make: Make) -> None:
    values = {"a": [[0.5, 0.9, 0.9]] * 2, "b": [[0.9, 0.9, 0.9]] * 2}
    metric = {"kind": "time_to", "target": 0.9, "clock": "seconds"}
    published = [{"arms": ["a"], "split": "train", "values": {"seconds_to_0.9": 3}}]
    frames = make(values, published=published)
    shown = [
        part(arm_rows(frames, dots({**metric, "split": split})), "published")
        for split in ("train", "validation")
    ]
    assert list(map(len, shown)) == [1, 0]


def test_a_time_s_interval_ends_with_the_longest_training(make: Make) -> None:
    values = {
        "a": [[0.5, 0.9, 0.9], [0.5, 0.5, 0.5], [0.5, 0.5, 0.9]],
        "b": [[0.5, 0.5, 0.5]] * 3,
    }
    metric = {"kind": "time_to", "target": 0.9, "split": "train", "clock": "seconds", "hold": 1}
    means = part(arm_rows(make(values), dots(metric)), "mean")
    assert means["value"].tolist() == pytest.approx([16 / 3, 6])
    assert means["high"].tolist() == pytest.approx([6, 6])


def test_a_time_that_must_hold_says_so_and_is_no_published_one(make: Make) -> None:
    values = {"a": [[0.5, 0.9, 0.9]] * 2, "b": [[0.9, 0.9, 0.9]] * 2}
    metric = {"kind": "time_to", "target": 0.9, "split": "train", "clock": "seconds", "hold": 2}
    published = [{"arms": ["a"], "values": {"seconds_to_0.9": 3}}]
    rows = arm_rows(make(values, published=published), dots(metric))
    assert not len(part(rows, "published"))
    assert rows["metric"].unique() == [
        "Seconds until 90 % running training accuracy in 2 epochs in a row"
    ]
    rows = arm_rows(make(values, published=published), dots({**metric, "hold": 1}))
    assert part(rows, "published")["value"].tolist() == [3]


def test_time_to_accuracy_is_a_restricted_mean_and_says_who_never_got_there(make: Make) -> None:
    values = {"a": [[0.5, 0.9, 0.9], [0.9, 0.9, 0.9]], "b": [[0.5, 0.5, 0.5], [0.5, 0.5, 0.9]]}
    metric = {"kind": "time_to", "target": 0.9, "split": "train", "clock": "seconds", "hold": 1}
    rows = arm_rows(make(values), dots(metric))
    assert part(rows, "mean")["value"].tolist() == pytest.approx([3.0, 6.0])
    seeds = part(rows, "seed")
    assert seeds["value"].tolist() == [4, 2, 6, 6]
    assert seeds["reached"].tolist() == [True, True, False, True]
    assert "never got there" in dots(metric).draw(Source(make(values))).caption


def test_nothing_finished_is_said(make: Make) -> None:
    states = {(arm, seed): "pending" for arm in "ab" for seed in range(3)}
    with pytest.raises(NotDrawnError, match="no finished trial has the Test accuracy"):
        arm_rows(make(SCORES, states=states), dots())


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_arms_are_drawn_in_every_way(make: Make, bars: bool, together: bool) -> None:
    kind = "bars" if bars else "dots"
    figure = dots("test_accuracy", "train_accuracy", kind=kind, together=together)
    spec = figure.draw(Source(make(SCORES))).chart.to_dict()  # validates
    assert ("vconcat" in spec) is together  # one panel and its key, or a panel each
    assert ("'bar'" in str(spec)) is bars


Points = list[tuple[str, Any, str | None]]


def factor(points: Points, **values: object) -> Figure:
    record = {"kind": "factor", "metric": "test_accuracy", "at": "last", "x": "p", **values}
    return FIGURES["factor"].parse({**record, "lines": "norm"} if points[0][2] else record)


def at_points(make: Make, scores: dict[str, Any], points: Points, **plan: Any) -> Frames:
    """Frames of arms that have these levels of p, and of norm where the points say one."""
    arms = [
        {"label": arm, "classes": 10, "levels": {"p": x} | ({"norm": line} if line else {})}
        for arm, x, line in points
    ]
    return make({label: scores[label] for label, *_ in points}, arms=arms, **plan)


def drawn(make: Make, points: Points, **values: object) -> Drawn:
    scores = {label: SCORES["ab"[place % 2]] for place, (label, *_) in enumerate(points)}
    return factor(points, **values).draw(Source(at_points(make, scores, points)))


def test_a_factor_s_levels_have_means_over_the_arms_that_share_them(make: Make) -> None:
    points: Points = [("a", 0.1, None), ("b", 0.1, None), ("c", 0.5, None)]
    frames = at_points(make, {**SCORES, "c": [[0.70], [0.70], [0.70]]}, points)
    rows = factor(points).rows(Source(frames))
    means = part(rows, "mean").set_index("x")
    assert means["value"].to_dict() == pytest.approx({0.1: 87.5, 0.5: 70.0})
    assert means["seeds"].to_dict() == {0.1: 6, 0.5: 3}
    # Welch: se^2 = (13 + 4) / 3 / 4 with the arms' variances 13 and 4.
    se = (17 / 12) ** 0.5
    df = (17 / 12) ** 2 / (((13 / 12) ** 2 + (4 / 12) ** 2) / 2)
    assert means.loc[0.1, "low"] == pytest.approx(87.5 - stats.t.ppf(0.975, df) * se)
    caption = factor(points).draw(Source(frames)).caption
    assert "over all arms that share these levels" in caption


def test_an_unfinished_arm_leaves_its_mean_out(make: Make) -> None:
    states = {("b", seed): "pending" for seed in range(3)}
    points: Points = [("a", 1, "x"), ("b", 2, "x")]
    rows = factor(points).rows(Source(at_points(make, SCORES, points, states=states)))
    assert part(rows, "mean")["x"].tolist() == [1]


@pytest.mark.parametrize(
    "points",
    [
        [("a", 0.1, None), ("b", 0.5, None)],
        [("a", 0.1, "batch"), ("b", 0.1, "layer"), ("c", 0.5, "layer")],
        [("a", "batch", "1"), ("b", "a level of many words", "2")],
    ],
)
def test_factors_are_drawn(make: Make, points: Points) -> None:
    spec = drawn(make, points).chart.to_dict()
    assert ("vconcat" in spec) is (points[0][2] is not None)  # a key for the lines


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("levels", [(16, 64), (0.25, 0.5), (100, 1000), (0.0001, 0.001)])
def test_the_axis_says_the_levels_and_rounds_none(
    make: Make, levels: tuple[float, float], scale: str
) -> None:
    points: Points = [(arm, x, None) for arm, x in zip("ab", levels, strict=True)]
    figure = drawn(make, points, scale=scale)
    svg = vl_convert.vegalite_to_svg(specification(figure), vl_version=VEGA_LITE)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {f"{level:g}" for level in levels} <= set(texts)


def test_long_names_stand_in_the_middle_of_their_rows() -> None:
    name = "a name of so many words that it takes two lines of the axis"
    frame = pd.DataFrame({"name": [name, "short"], "value": [1.0, 2.0]})
    chart = (
        alt.Chart(frame)
        .mark_point()
        .encode(alt.Y("name:N", axis=named_axis([name, "short"])), alt.X("value:Q"))
        .properties(height=alt.Step(60))
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=VEGA_LITE)
    places = re.findall(r'translate\(-8,([\d.]+)\)"[^>]*>(?:<tspan>)?(a name|short)', svg)
    first, second = (float(place) for place, _ in places)
    assert second - first == pytest.approx(60 + 15 / 2)  # half a line up


def test_lines_stand_beside_each_other_on_an_axis_of_numbers(make: Make) -> None:
    points: Points = [(f"{line}{x}", x, line) for line in ("one", "two") for x in (1, 11)]
    spec = drawn(make, points).chart.to_dict()
    rows = pd.DataFrame([row for data in spec["datasets"].values() for row in data])
    places = rows[rows["part"] == "mean"].groupby("line")["x"].apply(sorted)
    assert places["one"] == pytest.approx([0.85, 10.85])  # 3 % of the range apart
    assert places["two"] == pytest.approx([1.15, 11.15])
