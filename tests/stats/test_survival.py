import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from normlab.stats import Times
from normlab.stats.contrasts import two_sided
from normlab.stats.survival import (
    kaplan_meier,
    restricted_difference,
    restricted_means,
    restricted_moments,
)

RNG = np.random.default_rng(0)


def drawn(arms: int, seeds: int, budget: float, *, late: bool = False, seed: int = 0) -> Times:
    rng = np.random.default_rng(seed)
    times = np.round(rng.gamma(4, 10, size=(arms, seeds)), 0)  # whole epochs: there are ties
    until = np.minimum(budget, rng.uniform(20, 80, size=times.shape)) if late else budget
    return Times(np.minimum(times, until), times <= until, budget)


@pytest.mark.parametrize("late", [False, True])
def test_curves_are_lifelines_s(late: bool) -> None:
    study = drawn(1, 25, 50.0, late=late)
    theirs = KaplanMeierFitter().fit(study.times[0], study.reached[0])
    ours = kaplan_meier(study.times[0], study.reached[0])
    expected = theirs.survival_function_at_times(ours.time).to_numpy()
    assert ours.share == pytest.approx(expected, abs=1e-6)
    at_risk = theirs.event_table["at_risk"].loc[ours.time[1:]].to_numpy()
    assert ours.at_risk[1:].tolist() == at_risk.tolist()


@pytest.mark.parametrize("late", [False, True])
def test_restricted_means_are_lifelines_s(late: bool) -> None:
    study = drawn(3, 25, 50.0, late=late)
    theirs = [
        restricted_mean_survival_time(KaplanMeierFitter().fit(times, reached), t=study.budget)
        for times, reached in zip(study.times, study.reached, strict=True)
    ]
    assert restricted_means(study).mean == pytest.approx(theirs, abs=1e-6)


def test_hand_value_with_a_trial_censored_early() -> None:
    # Reached at 2, censored at 3, reached at 4, budget 6: S = 2/3 from 2, 0 from 4.
    study = Times(np.array([[2.0, 3.0, 4.0]]), np.array([[True, False, True]]), 6.0)
    found = restricted_moments(study)
    assert found.mean[0] == pytest.approx(2 + 2 * 2 / 3)
    # Area after 2 is 4/3, one of three at risk; after 4 it is 0.
    squared = (4 / 3) ** 2 / (3 * 2) * 3 / 2
    assert found.variance[0] / 3 == pytest.approx(squared)


def test_censored_at_the_budget_it_is_the_mean_of_what_was_used() -> None:
    study = drawn(1, 12, 40.0)
    used = np.minimum(study.times[0], 40.0)
    found = restricted_moments(study)
    assert found.mean[0] == pytest.approx(used.mean())
    assert found.variance[0] == pytest.approx(used.var(ddof=1))


def test_a_missing_trial_plays_no_part() -> None:
    study = drawn(2, 6, 40.0)
    gaps = np.hstack([study.times, [[np.nan], [np.nan]]])
    more = Times(gaps, np.hstack([study.reached, [[True], [False]]]), 40.0)
    np.testing.assert_allclose(restricted_means(more).low, restricted_means(study).low)
    assert more.successes(0) == study.successes(0)
    np.testing.assert_array_equal(
        kaplan_meier(more.times[0], more.reached[0]).share,
        kaplan_meier(study.times[0], study.reached[0]).share,
    )


def test_an_arm_without_trials_has_no_mean() -> None:
    study = Times(np.full((1, 3), np.nan), np.zeros((1, 3), dtype=bool), 10.0)
    assert np.isnan(restricted_means(study)).all()


def test_the_difference_permutes_welch_s_statistic() -> None:
    study = drawn(2, 4, 1e6, seed=3)
    pooled = study.times.ravel()

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        return float(stats.ttest_ind(second, first, equal_var=False).statistic)

    theirs = stats.permutation_test(tuple(study.times), statistic, vectorized=False)
    found = restricted_difference(study, 0, 1, RNG)
    assert found.estimate[0] == pytest.approx(pooled[4:].mean() - pooled[:4].mean())
    welch = stats.ttest_ind(*study.times, equal_var=False).pvalue
    assert two_sided(found)[0] == pytest.approx(max(theirs.pvalue, welch), abs=1e-9)


def test_limits_and_p_values_agree() -> None:
    for seed in range(40):
        found = restricted_difference(drawn(2, 5, 60.0, seed=seed), 0, 1, RNG)
        for alpha in (0.05, 0.2):
            low, high = found.limits(alpha)
            assert (low[0] > 0) == (found.above(0.0)[0] <= alpha / 2)
            assert (high[0] < 0) == (found.below(0.0)[0] <= alpha / 2)


def test_resolution_is_the_least_spread() -> None:
    times = np.full((1, 3), 5.0)
    study = Times(times, np.ones((1, 3), dtype=bool), 10.0, resolution=0.6)
    assert restricted_moments(study).variance[0] == pytest.approx(0.6**2 / 12)


@pytest.mark.parametrize("spread", [1.0, 5.0])
def test_level_is_kept_at_five_seeds_with_like_and_unlike_spreads(spread: float) -> None:
    rng, wrong, studies = np.random.default_rng(1), 0, 600
    reached = np.ones((2, 5), dtype=bool)
    for _ in range(studies):
        times = rng.normal(50, [[3.0], [3.0 * spread]], size=(2, 5))
        wrong += two_sided(restricted_difference(Times(times, reached, 1e3), 0, 1, rng))[0] <= 0.05
    assert wrong / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
