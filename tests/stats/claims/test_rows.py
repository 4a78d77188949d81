"""The table of verdicts, row by row, on limits written by hand. Margin 1."""

import numpy as np
import pytest

from normlab.stats.claims.rows import Row, better_row, equal_row, every_row

S, R, OPEN = Row(True, False), Row(False, True), Row(False, False)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 3.0, S),
        (0.1, 0.5, S),  # immaterially, and still supported
        (2.0, 3.0, S),
        (-0.1, 0.9, R),
        (0.0, 0.9, R),
        (-3.0, -1.0, R),
        (-0.1, 1.0, OPEN),
        (-3.0, 3.0, OPEN),
        (np.nan, np.nan, OPEN),
        (-np.inf, np.inf, OPEN),
    ],
)
def test_better(low: float, high: float, expected: Row) -> None:
    assert better_row(np.array(low), np.array(high), 1.0) == expected


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ((-0.9, 0.9), (-1.1, 1.1), S),
        ((-1.0, 0.9), (-1.1, 1.1), OPEN),
        ((1.1, 1.3), (1.0, 1.4), R),
        ((1.1, 1.3), (0.9, 1.5), OPEN),
        ((-1.3, -1.1), (-1.4, -1.0), R),
        ((np.nan, np.nan), (np.nan, np.nan), OPEN),
    ],
)
def test_equal(inner: tuple[float, float], outer: tuple[float, float], expected: int) -> None:
    first, second = (tuple(map(np.array, pair)) for pair in (inner, outer))
    assert equal_row(first, second, 1.0) == expected


@pytest.mark.parametrize(
    ("low", "corrected_high", "expected"),
    [
        ([0.1, 0.2], [1.0, 2.0], S),
        ([0.1, -0.2], [1.0, 2.0], OPEN),
        ([0.1, -3.0], [1.0, -0.1], R),
        ([0.1, -3.0], [1.0, 0.0], OPEN),
        ([0.1, np.nan], [1.0, np.nan], OPEN),
    ],
)
def test_best_and_ranking(low: list[float], corrected_high: list[float], expected: Row) -> None:
    assert every_row(np.array(low), np.array(corrected_high)) == expected


def test_leading_axes_are_studies() -> None:
    low, high = np.array([[0.1, 0.2], [-2.0, 0.2]]), np.array([[1.0, 1.0], [-1.0, 1.0]])
    assert every_row(low, high).supported.tolist() == [True, False]
    assert every_row(low, high).refuted.tolist() == [False, True]
    assert better_row(low[:, 0], high[:, 0], 0.5).refuted.tolist() == [False, True]
