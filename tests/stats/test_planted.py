"""A smaller run of benchmarks/planted.py: the same cells and bounds, fewer studies."""

import math
from pathlib import Path

import pytest
from tests.scripts import script

STUDIES = 1000
ROOT = Path(__file__).parents[2]
PLANTED = script(ROOT / "benchmarks" / "planted.py")
MOST = 0.05 + 3 * math.sqrt(0.05 * 0.95 / STUDIES)
"""What a true 5 % shows at most in so many studies."""


@pytest.mark.parametrize("arms", PLANTED.ARMS)
@pytest.mark.parametrize("name", PLANTED.DISTRIBUTIONS)
def test_no_cell_errs_more_often_than_it_says(name: str, arms: int) -> None:
    for seeds in PLANTED.SEEDS:
        row = PLANTED.cell_row(name, arms, seeds, STUDIES)
        for error in ("family_error", "false_equal_supported", "false_supported", "false_refuted"):
            assert row[error] <= MOST, (seeds, error, row[error])
    assert PLANTED.settled_row(name, arms, STUDIES)["family_error"] <= MOST


@pytest.mark.parametrize("seeds", PLANTED.SEEDS)
def test_normal_cells_cover_and_have_the_power_predicted(seeds: int) -> None:
    row = PLANTED.cell_row("normal", 4, seeds, 3000)
    assert row["coverage_arm"] == pytest.approx(0.95, abs=0.006)  # 12,000 intervals
    assert row["power_simulated"] == pytest.approx(row["power_predicted"], abs=0.05)
    assert row["equal_power_simulated"] == pytest.approx(row["equal_power_predicted"], abs=0.05)


@pytest.mark.parametrize("correlation", PLANTED.CORRELATIONS)
@pytest.mark.parametrize("name", PLANTED.OPTION_CELLS)
def test_pairs_and_curves_err_no_more_often_than_they_say(
    name: str, correlation: float | None
) -> None:
    for seeds in (3, 5):
        row = PLANTED.option_row(name, correlation, seeds, STUDIES)
        for error in ("false_equal_supported", "false_supported", "false_refuted"):
            assert row[error] <= MOST, (seeds, error, row[error])
        assert row["coverage_difference"] >= 1 - MOST


@pytest.mark.parametrize("correlation", PLANTED.CORRELATIONS)
def test_relative_margins_keep_their_level(correlation: float | None) -> None:
    row = PLANTED.relative_row(correlation, 5, STUDIES)
    assert max(row["false_supported"], row["false_refuted"]) <= MOST


def test_lost_trials_of_a_noisy_arm_err_as_the_guide_says() -> None:
    assert PLANTED.lost_row("normal", 10, 10_000)["coverage_difference"] >= 0.925
    assert PLANTED.lost_row("skewed", 10, 10_000)["coverage_difference"] < 0.9


def test_a_bound_that_is_broken_is_said() -> None:
    row = {"distribution": "normal", "family_error": 0.06, "coverage_arm": 0.95}
    assert list(PLANTED.outside(row)) == [("family_error", 0.06)]
    assert "normal, family_error, 1 cells, 6.0 to 6.0 %" in next(PLANTED.summary([row]))


@pytest.mark.parametrize("levels", [PLANTED.GRIDS[0], PLANTED.GRIDS[-1]])
@pytest.mark.parametrize("seeds", PLANTED.GRID_SEEDS[:2])
def test_an_effect_that_does_not_exist_is_seldom_found(levels: tuple[int, int], seeds: int) -> None:
    studies = 150
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies) + 0.01
    assert max(PLANTED.effect_errors(levels, seeds, studies).values()) <= most
