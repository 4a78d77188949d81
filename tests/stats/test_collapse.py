import numpy as np
import pytest
from scipy import stats

from normlab.stats import collapse_rates, collapsed, earned_scores, without_collapsed
from normlab.stats.collapse import fractions, rate_test


def test_a_diverged_trial_without_a_score_gets_chance() -> None:
    scores = [[0.9, np.nan, np.nan, 0.4]]
    found = earned_scores(scores, [[False, True, False, True]], 0.1)
    np.testing.assert_array_equal(found, [[0.9, 0.1, np.nan, 0.4]])


def test_below_twice_chance_is_collapsed() -> None:
    assert collapsed([0.19, 0.2, np.nan, 0.9], 0.1).tolist() == [True, False, False, False]
    np.testing.assert_array_equal(without_collapsed([0.19, 0.2], 0.1), [np.nan, 0.2])


def test_rates_are_tested_by_fisher_s_exact_test() -> None:
    # 3 of 3 against 0 of 3: one of 20 tables is as extreme on each side.
    assert rate_test(3, 3, 0, 3) == pytest.approx(0.1)


def test_each_arm_is_held_against_all_others() -> None:
    scores = np.full((3, 5), 0.9)
    scores[0, :4] = 0.1
    scores[2, 4] = np.nan
    found = collapse_rates(scores, 0.1)
    assert found.trials.tolist() == [5, 5, 4]
    assert found.collapsed.tolist() == [4, 0, 0]
    expected = stats.fisher_exact([[4, 1], [0, 9]]).pvalue
    assert found.p[0] == pytest.approx(3 * expected)


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (3, 5), (5, 5)])
def test_fractions_have_scipy_s_exact_limits(hits: int, trials: int) -> None:
    theirs = stats.binomtest(hits, trials).proportion_ci(method="exact")
    found = fractions(hits, trials)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_no_trials_no_fraction() -> None:
    assert np.isnan(fractions([0], [0])).all()
