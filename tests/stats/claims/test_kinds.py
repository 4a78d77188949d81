import numpy as np
import pytest

from normlab.errors import UserError
from normlab.stats.claims import (
    Best,
    Better,
    Equal,
    Faster,
    Interaction,
    Ranking,
    Trend,
)


def test_contrasts_of_single_arms() -> None:
    assert Better(2, 0, 0.1).contrasts(3).tolist() == [[-1, 0, 1]]
    assert Best(1, (0, 2), 0.1).contrasts(3).tolist() == [[-1, 1, 0], [0, 1, -1]]
    assert Ranking((2, 0, 1), 0.1).contrasts(3).tolist() == [[-1, 0, 1], [1, -1, 0]]
    assert Interaction(0, 1, 2, 3, 0.1).contrasts(4).tolist() == [[1, -1, -1, 1]]


def test_a_side_of_several_arms_is_their_mean() -> None:
    assert Equal((0, 1), (2, 3), 0.1).contrasts(4).tolist() == [[0.5, 0.5, -0.5, -0.5]]


@pytest.mark.parametrize("levels", [(), (1.0, 2.0, 3.0), (8.0, 64.0, 512.0), (3.0, 1.0, 2.0)])
def test_a_linear_trend_is_the_rise_of_a_fitted_line(levels: tuple[float, ...]) -> None:
    means = np.array([0.3, 0.9, 0.2])
    x = np.array(levels or (0, 1, 2))
    slope = np.polyfit(x, means, 1)[0]
    found = Trend((0, 1, 2), 0.1, levels).contrasts(3) @ means
    assert found == pytest.approx(slope * np.ptp(x))


def test_named_trends() -> None:
    sides = (0, 1, 2, 3)
    assert Trend(sides, 0.1, contrast="ends").contrasts(4).tolist() == [[-1, 0, 0, 1]]
    assert Trend(sides, 0.1, contrast="hump").contrasts(4).tolist() == [[-0.5, 0.5, 0.5, -0.5]]
    swapped = Trend(sides, 0.1, (2.0, 4.0, 1.0, 3.0), contrast="ends")
    assert swapped.contrasts(4).tolist() == [[0, 1, -1, 0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Better(0, 1, 0.0), "better: margin 0.0 must be above 0"),
        (lambda: Better(0, 1, float("nan")), "margin nan"),
        (lambda: Better(0, 0, 0.1), "better: two sides are the same arms"),
        (lambda: Better((), 0, 0.1), "a side has no arm"),
        (lambda: Equal(0, 1, 0.1, test="permutatoin"), "Did you mean 'permutation'"),
        (lambda: Best(0, (), 0.1), "2 sides or more, has 1"),
        (lambda: Ranking((1,), 0.1), "2 sides or more, has 1"),
        (lambda: Trend((0, 1, 2), 0.1, (1.0, 2.0)), "3 distinct numbers"),
        (lambda: Trend((0, 1, 2), 0.1, (1.0, 2.0, 2.0)), "3 distinct numbers"),
        (lambda: Trend((0, 1, 2), 0.1, contrast="liner"), "Did you mean 'linear'"),
        (lambda: Trend((0, 1), 0.1, contrast="hump"), "three levels"),
        (lambda: Faster(1, 1), "faster: two sides are the same arms"),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def test_the_arms_of_a_claim_are_sorted_and_once() -> None:
    assert Best((3, 1), ((2, 0), 1), 0.1).arms == (0, 1, 2, 3)


def test_the_catalog_is_still_found_by_its_old_name() -> None:
    from normlab.stats import claims

    with pytest.warns(DeprecationWarning, match="KINDS is now CLAIMS"):
        assert claims.KINDS is claims.CLAIMS
    with pytest.raises(AttributeError, match="no attribute 'KIND'"):
        _ = claims.KIND
