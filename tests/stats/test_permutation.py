import numpy as np
import pytest
from scipy import stats

from normlab.stats import permutation
from normlab.stats.contrasts import two_sided
from normlab.stats.permutation import arrangements, sign_flip, smallest_p, two_sample

RNG = np.random.default_rng(2)
FIRST, SECOND = np.random.default_rng(3).normal([[1.0], [0.0]], size=(2, 6))


def difference(x: np.ndarray, y: np.ndarray, axis: int = 0) -> np.ndarray:
    return x.mean(axis=axis) - y.mean(axis=axis)


def mean(x: np.ndarray, axis: int = 0) -> np.ndarray:
    return x.mean(axis=axis)


@pytest.mark.parametrize("second", [SECOND, SECOND[:4]])
def test_two_sample_is_scipy_s_exact_test(second: np.ndarray) -> None:
    theirs = stats.permutation_test((FIRST, second), difference, vectorized=True)
    found = two_sample(FIRST, second, RNG)
    assert two_sided(found)[0] == pytest.approx(theirs.pvalue, abs=1e-12)
    theirs = stats.permutation_test(
        (FIRST - 0.7, second), difference, vectorized=True, alternative="greater"
    )
    assert found.above(0.7)[0] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_is_scipy_s_exact_test() -> None:
    pairs = FIRST - SECOND
    theirs = stats.permutation_test((pairs,), mean, permutation_type="samples", vectorized=True)
    assert two_sided(sign_flip(pairs, RNG))[0] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_smallest_p_values_of_the_protocol() -> None:
    assert [round(smallest_p(n, n), 3) for n in (3, 4, 5)] == [0.1, 0.029, 0.008]
    assert [smallest_p(n) for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]


def test_more_seeds_never_have_a_larger_smallest_p() -> None:
    for steps in ([smallest_p(n, n) for n in range(2, 40)], [smallest_p(n) for n in range(2, 40)]):
        assert steps == sorted(steps, reverse=True)


def test_the_smallest_p_is_reached() -> None:
    assert two_sided(two_sample([4.0, 5, 6], [1.0, 2, 3], RNG))[0] == pytest.approx(0.1)
    assert two_sided(sign_flip([1.0, 2, 3], RNG))[0] == 0.25


def test_ties_are_as_extreme_as_what_they_tie_with() -> None:
    # 0.1 + 0.2 and 0.3 tie in the same digits, whatever the order of summation.
    first, second = [0.1, 0.2, 0.6], [0.3, 0.3, 0.3]
    assert two_sided(two_sample(first, second, RNG))[0] == 1.0
    assert two_sided(two_sample(np.full(4, 0.97), np.full(4, 0.97), RNG))[0] == 1.0


def test_hand_value_of_limits() -> None:
    # 2 against 2 seeds: six arrangements. Exchanging one seed each way gives the shifts a_i - b_j,
    # exchanging both the difference of the means: 10 - 1, 10 - 2, 12 - 1, 12 - 2 and 9.5.
    found = two_sample([10.0, 12.0], [1.0, 2.0], RNG)
    assert found.critical.tolist() == [8, 9, 9.5, 10, 11]
    # At alpha 2/3 a shift is rejected if two of six arrangements or fewer are as extreme: the
    # observed one and 8 below a shift of 9, the observed one and 11 above a shift of 10.
    assert found.limits(2 / 3) == (np.array([9.0]), np.array([10.0]))


@pytest.mark.parametrize("test", ["two_sample", "sign_flip"])
def test_limits_and_p_values_agree(test: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        drawn = np.round(rng.normal([[1.2], [0.0]], size=(2, 5)), 1)
        found = (
            two_sample(*drawn, rng) if test == "two_sample" else sign_flip(drawn[0] - drawn[1], rng)
        )
        for alpha in (0.04, 0.125, 0.2):
            low, high = found.limits(alpha)
            assert (low[0] > 0) == (found.above(0.0)[0] <= alpha / 2)
            assert (high[0] < 0) == (found.below(0.0)[0] <= alpha / 2)


def test_an_alpha_out_of_reach_gives_no_limits() -> None:
    low, high = two_sample([4.0, 5, 6], [1.0, 2, 3], RNG).limits(0.05)
    assert (low[0], high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("seeds", [10, 30])
def test_too_many_arrangements_are_drawn(seeds: int) -> None:
    drawn = np.random.default_rng(6).normal([[0.6], [0.0]], size=(2, seeds))
    assert arrangements(seeds, seeds) == permutation.DRAWS + 1
    found = two_sample(*drawn, np.random.default_rng(0))
    t = stats.ttest_ind(*drawn).pvalue
    assert two_sided(found)[0] == pytest.approx(t, rel=0.2)


def test_drawn_arrangements_equal_to_the_observed_one_count_on_both_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(permutation, "MOST_ARRANGEMENTS", 1)
    monkeypatch.setattr(permutation, "DRAWS", 4000)
    found = sign_flip([1.0, 2.0, 3.0], np.random.default_rng(0))
    assert found.same == pytest.approx(500, rel=0.2)
    assert two_sided(found)[0] == pytest.approx(0.25, rel=0.2)


def test_level_is_kept_where_seeds_can_be_exchanged() -> None:
    rng = np.random.default_rng(8)
    p = [two_sided(two_sample(*rng.gamma(1.0, size=(2, 4)), rng))[0] for _ in range(2000)]
    assert np.mean(np.array(p) <= 0.0572) == pytest.approx(0.0572, abs=0.016)
