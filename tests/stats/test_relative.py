"""Relative differences: Fieller's limits by another way, and the test that they agree with."""

import numpy as np
import pytest
from scipy import stats

from normlab.errors import UserError
from normlab.stats.claims import Better, Equal, NotBetter, Rules, verdict
from normlab.stats.claims.evidence import by_t, check_test

WEIGHTS = np.array([[1.0, -1.0]])
SECONDS = np.array([[90.0, 91.0, 92.5, 89.0], [100.0, 103.0, 99.0, 101.0]])
IN_PAIRS = Rules(paired=True, relative=True)


def fieller(first: np.ndarray, second: np.ndarray, alpha: float) -> tuple[float, float]:
    """Limits of mean(first) / mean(second) for pairs, by the quadratic (Fieller 1954)."""
    n, t = len(first), stats.t.ppf(1 - alpha / 2, len(first) - 1)
    a, b = first.mean(), second.mean()
    (v, c), (_, w) = np.cov(first, second) / n
    p, q, r = b**2 - t**2 * w, a * b - t**2 * c, a**2 - t**2 * v
    root = np.sqrt(q**2 - p * r)
    return (q - root) / p, (q + root) / p


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_limits_of_pairs_are_fieller_s(alpha: float) -> None:
    found = by_t(-SECONDS, WEIGHTS, IN_PAIRS)
    low, high = fieller(*SECONDS, alpha)
    assert [float(limit[0]) for limit in found.limits(alpha)] == pytest.approx([1 - high, 1 - low])
    saved = 1 - SECONDS[0].mean() / SECONDS[1].mean()
    assert found.estimate[0] == pytest.approx(saved)


@pytest.mark.parametrize("paired", [False, True])
def test_limits_and_p_values_agree_and_signs_do_not_matter(paired: bool) -> None:
    rules = Rules(paired=paired, relative=True)
    found = by_t(-SECONDS, WEIGHTS, rules)
    low, high = (float(limit[0]) for limit in found.limits(0.05))
    assert found.above(low)[0] == pytest.approx(0.025)
    assert found.below(high)[0] == pytest.approx(0.025)
    grown = by_t(SECONDS, WEIGHTS, rules)
    assert [float(limit[0]) for limit in grown.limits(0.05)] == pytest.approx([-high, -low])


def test_a_mean_that_may_be_zero_bounds_nothing() -> None:
    noise = np.array([[1.0, 2.0, 1.5], [-1.0, 1.0, 0.1]])
    assert not np.isfinite(by_t(noise, WEIGHTS, Rules(relative=True)).limits(0.05)).any()


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (Better(0, 1, 0.05), "supported"),
        (Better(1, 0, 0.05), "refuted"),
        (NotBetter(1, 0, 0.05), "supported"),
        (Equal(0, 1, 0.2), "supported"),
        (Equal(0, 1, 0.02), "refuted"),
    ],
)
def test_verdicts_with_a_relative_margin(claim: Better, word: str) -> None:
    found = verdict(claim, -SECONDS, Rules(relative=True))
    assert found.verdict == word


def test_a_permutation_has_no_relative_margin() -> None:
    with pytest.raises(UserError, match="Allowed here: t, or a margin in the metric's unit"):
        check_test("better", "permutation", WEIGHTS, Rules(relative=True))
