import numpy as np
import pytest
from scipy import stats

from normlab.stats import robust
from normlab.stats.robust import iqm, stratified_bootstrap


def test_iqm_is_scipy_s_trimmed_mean_over_all_runs() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 11))
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-12)


def test_hand_value_of_an_iqm() -> None:
    assert iqm(np.array([[0.0, 1.0, 2.0, 100.0]])) == 1.5


def test_limits_are_those_of_scipy_s_percentile_bootstrap() -> None:
    scores = np.random.default_rng(1).normal(size=(1, 20))
    found = stratified_bootstrap(scores, np.random.default_rng(2), draws=20_000)
    theirs = stats.bootstrap(
        (scores[0],),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_seeds_are_drawn_within_their_stratum() -> None:
    # Two strata that differ and do not vary: drawn within, every sample is the same.
    scores = np.repeat([[1.0], [3.0]], 10, axis=1)
    found = stratified_bootstrap(scores, np.random.default_rng(0))
    assert found == (2.0, 2.0, 2.0)


def test_below_ten_seeds_there_are_no_limits() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 11))
    scores[0, 2] = scores[1, 7] = np.nan
    found = stratified_bootstrap(scores, np.random.default_rng(0))
    assert found.mean == pytest.approx(iqm(np.delete(scores, [2, 7], axis=1)))
    assert np.isnan([found.low, found.high]).all()


def test_draws_in_parts_are_the_draws_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=(2, 13))
    at_once = stratified_bootstrap(scores, np.random.default_rng(1))
    monkeypatch.setattr(robust, "_AT_ONCE", 7 * 26)
    in_parts = stratified_bootstrap(scores, np.random.default_rng(1))
    assert tuple(map(float, in_parts)) == tuple(map(float, at_once))
