import numpy as np
import pytest
from scipy import stats

from normlab.stats import moments
from normlab.stats.best import compare_with_best
from normlab.stats.contrasts import pair_weights, welch


def compared(scores: np.ndarray, alpha: float = 0.05):
    arms = scores.shape[-2]
    return compare_with_best(welch(moments(scores), pair_weights(arms)), arms, alpha=alpha)


def test_two_arms_are_a_one_sided_welch_test() -> None:
    scores = np.array([[3.0, 4.0, 5.0, 3.5], [2.0, 3.0, 3.5, 2.2]])
    upper = stats.ttest_ind(scores[1], scores[0], equal_var=False, alternative="less")
    limit = upper.confidence_interval(0.95).high
    found = compared(scores)
    assert found.high[1] == pytest.approx(max(0.0, limit), abs=1e-9)
    assert found.excluded.tolist() == [False, bool(upper.pvalue < 0.05)]


def test_hand_values_of_three_arms() -> None:
    # Every variance 1 over 4 seeds: each pair has standard error sqrt(1/2) and 6 degrees of freedom.
    pattern = np.array([-1.0, -1.0, 1.0, 1.0]) * np.sqrt(3) / 2
    scores = np.array([10.0, 9.0, 5.0])[:, None] + pattern
    half = stats.t.ppf(1 - 0.05 / 2, 6) * np.sqrt(0.5)  # alpha over the two others, one-sided
    found = compared(scores)
    assert found.excluded.tolist() == [False, False, True]
    assert found.high == pytest.approx([1 + half, -1 + half, 0.0])
    assert found.low == pytest.approx([1 - half, -1 - half, -5 - half])


def test_one_arm_left_is_the_best_for_sure() -> None:
    found = compared(np.array([[10.0, 10.1, 10.2], [1.0, 1.1, 1.2], [2.0, 2.1, 2.2]]))
    assert found.excluded.tolist() == [False, True, True]
    assert found.low[0] == 0


def test_an_arm_with_one_seed_is_never_excluded() -> None:
    scores = np.array([[10.0, 10.1, 10.2], [1.0, np.nan, np.nan], [2.0, 2.1, 2.2]])
    assert compared(scores).excluded.tolist() == [False, False, True]


@pytest.mark.parametrize("noise", [(1, 1, 1, 1), (5, 1, 1, 1), (1, 5, 5, 5)])
def test_the_truly_best_arm_stays_in(noise: tuple[float, ...]) -> None:
    drawn = np.random.default_rng(0).normal(size=(10_000, 4, 4)) * np.array(noise)[:, None]
    assert compared(drawn).excluded[:, 0].mean() <= 0.056
