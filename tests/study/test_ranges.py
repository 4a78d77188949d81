"""Factors with a range: which levels they get, how they vary together, and what is refused."""

from typing import Any

import pytest

from normlab.arms import is_number
from normlab.errors import UserError
from normlab.study.cells import cells, levels_of
from normlab.study.plan import make_plan
from normlab.study.resolve import outline
from normlab.study.spec import Study

BASE = {"data": "digits", "model": "digits-small", "epochs": 2}


def study(factors: dict[str, Any], **values: Any) -> Study:
    whole = {"name": "s", "question": "?", "base": BASE, "seeds": 2, "factors": factors, **values}
    return Study.parse(whole)


def levels(factor: dict[str, Any]) -> list[Any]:
    return levels_of(study({"lr": factor}))["lr"]


def radical_inverse(number: int, base: int) -> float:
    """The digits of a number mirrored at the point: a coordinate of the Halton sequence."""
    found, share = 0.0, 1.0
    while number:
        share /= base
        number, digit = divmod(number, base)
        found += share * digit
    return found


def test_levels_of_one_range_are_the_halton_points_in_base_2_in_ascending_order() -> None:
    # 1/2, 1/4, 3/4, 1/8, 5/8, 3/8, 7/8 of the way from 0.1 to 0.8
    assert levels({"range": [0.1, 0.8], "points": 7}) == [
        0.188, 0.275, 0.363, 0.45, 0.538, 0.625, 0.713,
    ]  # fmt: skip


def test_a_list_of_values_takes_a_coordinate_for_each() -> None:
    found: dict[str, Any] = levels_of(
        study({"dropout.p": {"range": [0.0, 1.0], "points": 20, "length": 3}})
    )
    expected = sorted([[radical_inverse(i, base) for base in (2, 3, 5)] for i in range(1, 21)])
    assert len(found["dropout.p"]) == 20
    for level, point in zip(found["dropout.p"], expected, strict=True):
        assert level == pytest.approx(point, abs=0.0006)


def test_log_spreads_evenly_over_the_logarithm() -> None:
    # 1/4, 1/2 and 3/4 of the way from 1e-4 to 1, in powers of ten
    assert levels({"range": [1e-4, 1.0], "points": 3, "log": True}) == [0.001, 0.01, 0.1]


def test_whole_ends_give_whole_numbers_with_both_ends_and_none_twice() -> None:
    assert levels({"range": [3, 7], "points": 5}) == [3, 4, 5, 6, 7]
    assert all(type(level) is int for level in levels({"range": [1, 512], "points": 9}))
    assert levels({"range": [1, 4], "points": 4, "log": True}) == [1, 2, 3, 4]


def test_a_fraction_at_one_end_makes_them_fractions() -> None:
    assert levels({"range": [0, 1.0], "points": 1}) == [0.5]


@pytest.mark.parametrize("points", [1, 60, 3000])
@pytest.mark.parametrize("log", [False, True])
def test_levels_differ_after_rounding_and_stay_within_the_range(points: int, log: bool) -> None:
    low, high = 0.123456, 0.129999
    found = levels({"range": [low, high], "points": points, "log": log})
    assert len(found) == points
    assert all(isinstance(level, float) and low <= level <= high for level in found)


def test_more_points_keep_the_earlier_ones() -> None:
    few = levels({"range": [0.1, 0.8], "points": 5})
    many = levels({"range": [0.1, 0.8], "points": 50})
    assert set(few) < set(many)


def test_several_ranges_vary_together_and_cross_other_factors() -> None:
    factors = {
        "lr": {"range": [0.1, 0.3], "points": 4},
        "norm": ["batch", "layer"],
        "momentum": {"range": [0.0, 0.9], "points": 4},
    }
    found = [cell.levels for cell in cells(study(factors))]
    assert len(found) == 4 * 2
    assert [*found[0]] == ["lr", "norm", "momentum"]
    pairs = sorted({(str(cell["lr"]), str(cell["momentum"])) for cell in found})
    # Halton in bases 2 and 3: (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9)
    assert pairs == [("0.125", "0.4"), ("0.15", "0.6"), ("0.2", "0.3"), ("0.25", "0.1")]


def test_a_range_that_is_set_leaves_the_others_as_they_were() -> None:
    factors = {
        "lr": {"range": [0.1, 0.3], "points": 4},
        "momentum": {"range": [0.0, 0.9], "points": 4},
    }
    varied = study(factors).vary(overrides={"lr": 0.1})
    assert sorted(str(c.levels["momentum"]) for c in cells(varied)) == ["0.1", "0.3", "0.4", "0.6"]
    both = varied.vary(overrides={"momentum": 0.5})
    assert [cell.label for cell in cells(both)] == ["base"]


def test_the_quick_variant_can_draw_fewer_or_write_levels_out() -> None:
    factors = {"lr": {"range": [0.1, 0.3], "points": 8}}
    fewer = study(factors, quick={"factors": {"lr": {"range": [0.1, 0.3], "points": 2}}})
    assert [cell.levels["lr"] for cell in cells(fewer.vary(quick=True))] == [0.15, 0.2]
    written = study(factors, quick={"factors": {"lr": [0.2]}})
    assert [cell.levels["lr"] for cell in cells(written.vary(quick=True))] == [0.2]


def test_constraints_hold_for_a_range() -> None:
    drawn = {"range": [0.2, 0.6], "points": 3}
    nested = {"nest": "norm.momentum", "within": {"norm": "batch"}}
    made = study({"norm": ["batch", "layer"], "norm.momentum": drawn}, constraints=[nested])
    assert [cell.levels for cell in cells(made)] == [
        {"norm": "batch", "norm.momentum": 0.3},
        {"norm": "batch", "norm.momentum": 0.4},
        {"norm": "batch", "norm.momentum": 0.5},
        {"norm": "layer"},
    ]
    left_out = study({"lr": drawn}, constraints=[{"exclude": {"lr": 0.4}}])
    assert [cell.levels["lr"] for cell in cells(left_out)] == [0.3, 0.5]


def test_a_trend_runs_over_drawn_levels() -> None:
    trend = {"kind": "trend", "factor": "lr", "margin": 1}
    record = outline(study({"lr": {"range": [0.1, 0.3], "points": 4}}, claims=[trend]))
    (claim,) = record.judged
    assert claim.levels == (0.125, 0.15, 0.2, 0.25)
    assert all(map(is_number, claim.levels))


def test_labels_and_trials_are_those_of_the_levels_written_out() -> None:
    drawn = make_plan(study({"lr": {"range": [0.1, 0.3], "points": 2}}))
    written = make_plan(study({"lr": [0.15, 0.2]}))
    assert [arm.label for arm in drawn.arms] == ["lr=0.15", "lr=0.2"]
    assert drawn.trials.keys() == written.trials.keys()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"lr": {"range": [0.1, 1.0]}}, r"factors\.lr: points is missing.*points: 8"),
        ({"lr": {"points": 3}}, r"factors\.lr: range is missing.*range: \[0.1, 0.8\]"),
        ({"lr": {"range": [1.0, 0.1], "points": 3}}, r"factors\.lr: range is .*write \[0.1, 1.0\]"),
        ({"lr": {"range": [1.0, 1.0], "points": 3}}, r"factors\.lr: range is .*\[1.0\]"),
        ({"lr": {"range": [1.0], "points": 3}}, r"factors\.lr: range is \[1.0\]: two numbers"),
        ({"lr": {"range": [0.1, True], "points": 3}}, r"factors\.lr: range is .*two numbers"),
        ({"lr": {"range": [0.1, float("inf")], "points": 3}}, r"factors\.lr: range is .*between"),
        ({"lr": {"range": [1, 10**400], "points": 3}}, r"factors\.lr: range is .*between"),
        ({"lr": {"range": [1.0, 1.0000000000000002], "points": 3}}, r"factors\.lr: range .*equal"),
        ({"lr": {"range": [0.1, 1.0], "points": 0}}, r"factors\.lr: points is 0: .*1"),
        ({"lr": {"range": [0.1, 1.0], "points": 10_001}}, r"factors\.lr: points is 10001: .*10000"),
        ({"lr": {"range": [0, 1.0], "points": 3, "log": True}}, r"factors\.lr: log .* 0: .*leave log"),
        ({"lr": {"range": [0.1, 1.0], "point": 3}}, r"factors\.lr: unknown key.*'points'"),
        ({"lr": {"low": 0.1, "high": 1.0}}, r"factors\.lr: unknown key.*'low'.*'range'"),
        ({"lr": {"range": [0.1, 1.0], "points": 3, "length": 0}}, r"factors\.lr: length is 0"),
        ({"lr": 3}, r"factors\.lr is 3: a list of levels.*range"),
        ({"batch_size": {"range": [1, 3], "points": 4}}, r"factors: batch_size: .*only 3 levels"),
        (
            {"lr": {"range": [0.1, 1.0], "points": 3}, "momentum": {"range": [0.1, 0.9], "points": 2}},
            r"factors: ranges .*lr has 3, momentum has 2; .*list",
        ),
        (
            {"lr": {"range": [0.1, 1.0], "points": 3}, "dropout.p": {"range": [0.1, 0.9], "points": 3, "length": 10}},
            r"factors: lr, dropout\.p: .* 11 values .*at most 10",
        ),
        ({"lr": {"range": [0.1, 9.0], "points": 10_000}, "norm": ["batch", "layer"]}, "20,000 cells"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes_name_the_factor_the_key_and_a_way_out(
    factors: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        list(cells(study(factors)))
