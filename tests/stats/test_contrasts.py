import numpy as np
import pytest
import scikit_posthocs
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from normlab.stats import moments
from normlab.stats.contrasts import pair_weights, paired, tost, two_sided, welch

RNG = np.random.default_rng(5)
SCORES = RNG.normal([[0.98], [0.975], [0.97]], [[0.002], [0.005], [0.003]], size=(3, 6))
DIFFERENCE = np.array([[1.0, -1.0, 0.0]])


def test_a_difference_is_scipy_s_welch_test() -> None:
    found = welch(moments(SCORES), DIFFERENCE)
    theirs = stats.ttest_ind(SCORES[0], SCORES[1], equal_var=False)
    interval = theirs.confidence_interval(0.99)
    assert two_sided(found)[0] == pytest.approx(theirs.pvalue, abs=1e-9)
    assert found.df[0] == pytest.approx(theirs.df, rel=1e-9)
    assert np.ravel(found.limits(0.01)) == pytest.approx([interval.low, interval.high], abs=1e-9)


def test_one_sided_p_values_are_scipy_s() -> None:
    found = welch(moments(SCORES), DIFFERENCE)
    for p, side in ((found.above(0.002), "greater"), (found.below(0.002), "less")):
        theirs = stats.ttest_ind(SCORES[0] - 0.002, SCORES[1], equal_var=False, alternative=side)
        assert p[0] == pytest.approx(theirs.pvalue, abs=1e-9)


def test_all_pairs_with_bonferroni_are_scikit_posthocs_s() -> None:
    theirs = scikit_posthocs.posthoc_ttest(list(SCORES), equal_var=False, p_adjust="bonferroni")
    ours = np.minimum(1, 3 * two_sided(welch(moments(SCORES), pair_weights(3))))
    expected = theirs.to_numpy()[np.triu_indices(3, k=1)]
    assert ours == pytest.approx(expected, abs=1e-6)


def test_hand_value_of_a_contrast_of_three_arms() -> None:
    # Means 4, 1, 3; variances 1, 1, 4 over 3 seeds each: parts 1/3, 1/12, 1/3 of squared error 3/4.
    scores = np.array([[3.0, 4.0, 5.0], [0.0, 1.0, 2.0], [1.0, 3.0, 5.0]])
    found = welch(moments(scores), [1.0, -0.5, -0.5])
    assert found.estimate[0] == pytest.approx(2.0)
    assert found.se[0] ** 2 == pytest.approx(1 / 3 + 1 / 12 + 1 / 3)
    assert found.df[0] == pytest.approx(0.75**2 / ((1 / 9 + 1 / 144 + 1 / 9) / 2))


def test_every_arm_has_the_floor() -> None:
    found = welch(moments(np.ones((2, 4))), [1.0, -1.0], variance_floor=0.5)
    assert found.se[0] == pytest.approx(np.sqrt(0.5 / 4 + 0.5 / 4))
    assert found.df[0] == pytest.approx(6)


def test_without_spread_or_floor_the_estimate_is_certain() -> None:
    found = welch(moments([[2.0] * 3, [1.0] * 3, [1.0] * 3]), pair_weights(3))
    assert found.above(0.0).tolist() == [0, 0, 0.5]
    assert found.limits(0.05)[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("second", [[3.0, np.nan, np.nan], [2.0, 4.0, np.nan]])
def test_an_arm_of_few_seeds_has_no_interval_and_hurts_no_other_pair(second: list[float]) -> None:
    scores = np.array([[1.0, 2.0, 1.5], second, [5.0, 7.0, 6.0]])
    found = welch(moments(scores), pair_weights(3))
    assert found.estimate.tolist() == [-1.5, -4.5, -3]
    assert np.isnan(found.limits(0.05)[0]).tolist() == [True, False, True]


def test_leading_axes_are_studies() -> None:
    studies = np.stack([SCORES, SCORES[::-1]])
    found = welch(moments(studies), pair_weights(3))
    for study in range(2):
        one = welch(moments(studies[study]), pair_weights(3))
        np.testing.assert_allclose(found.limits(0.05)[0][study], one.limits(0.05)[0])
    np.testing.assert_allclose(
        paired(studies, pair_weights(3)).se[1], paired(studies[1], pair_weights(3)).se
    )


def test_paired_is_scipy_s_paired_test() -> None:
    theirs = stats.ttest_rel(SCORES[0], SCORES[1])
    assert two_sided(paired(SCORES, DIFFERENCE))[0] == pytest.approx(theirs.pvalue, abs=1e-9)


def test_paired_takes_complete_seeds_only() -> None:
    gaps = SCORES.copy()
    gaps[0, 1] = gaps[1, 4] = gaps[2, 0] = np.nan
    kept = [0, 2, 3, 5]
    theirs = stats.ttest_rel(SCORES[0, kept], SCORES[1, kept])
    found = paired(gaps, DIFFERENCE)
    assert two_sided(found)[0] == pytest.approx(theirs.pvalue, abs=1e-9)
    assert found.df[0] == 3


def test_tost_is_statsmodels_s() -> None:
    expected = ttost_ind(SCORES[0], SCORES[1], -0.01, 0.01, usevar="unequal")[0]
    assert tost(welch(moments(SCORES), DIFFERENCE), 0.01)[0] == pytest.approx(expected, abs=1e-9)
    expected = ttost_paired(SCORES[0], SCORES[1], -0.01, 0.01)[0]
    assert tost(paired(SCORES, DIFFERENCE), 0.01)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 21])
def test_limits_and_p_values_agree(alpha: float) -> None:
    studies = np.random.default_rng(1).normal([[2.0], [0.0]], size=(500, 2, 3))
    found = welch(moments(studies), [1.0, -1.0])
    assert ((found.limits(alpha)[0] > 0) == (found.above(0.0) <= alpha / 2)).all()
