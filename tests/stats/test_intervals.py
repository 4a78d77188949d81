import numpy as np
import pytest
from scipy import stats

from normlab.stats import moments, one_image_variance, pooled_t_intervals, t_intervals


def test_agrees_with_scipy() -> None:
    values = np.array([98.1, 98.9, 97.6, 98.4])
    found = t_intervals(values.mean(), values.var(ddof=1), len(values))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_hand_value_of_two_seeds() -> None:
    # 0 and 2: mean 1, variance 2, standard error 1, t quantile with 1 degree of freedom 12.7062.
    found = t_intervals(1.0, 2.0, 2)
    assert (found.low, found.high) == pytest.approx((1 - 12.7062, 1 + 12.7062), abs=1e-4)


def test_below_two_values_there_is_no_interval() -> None:
    found = t_intervals([5.0, np.nan], [np.nan, np.nan], [1, 0])
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_equal_accuracies_keep_the_spread_of_one_test_image() -> None:
    floor = one_image_variance(100)
    assert floor == pytest.approx(0.01**2 / 12)
    found = t_intervals(0.9, 0.0, 3, variance_floor=floor)
    assert found.high - found.low == pytest.approx(2 * 4.302653 * np.sqrt(floor / 3), rel=1e-6)


def test_covers_the_mean_at_its_level() -> None:
    drawn = np.random.default_rng(0).normal(size=(20_000, 3))
    found = t_intervals(drawn.mean(1), drawn.var(1, ddof=1), 3)
    covered = ((found.low <= 0) & (found.high >= 0)).mean()
    assert 0.944 <= covered <= 0.956


def test_moments_leave_missing_trials_out() -> None:
    found = moments([[1.0, 3.0, np.nan], [5.0, np.nan, np.nan], [np.nan] * 3])
    assert found.seeds.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(found.mean, [2, 5, np.nan])
    np.testing.assert_array_equal(found.variance, [2, np.nan, np.nan])


def test_pooled_intervals_use_the_common_variance() -> None:
    scores = np.array([[1.0, 3.0, np.nan], [10.0, 14.0, 12.0]])
    # Squares 2 and 8 over 1 + 2 degrees of freedom: variance 10 / 3.
    found = pooled_t_intervals(moments(scores))
    half = stats.t.ppf(0.975, 3) * np.sqrt(10 / 3 / np.array([2, 3]))
    assert found.high - found.mean == pytest.approx(half, rel=1e-9)
