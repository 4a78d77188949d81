import numpy as np
import pytest

from normlab.stats import Times
from normlab.stats.claims import Best, Better, Faster, Ranking, Rules, verdict_at_looks
from normlab.stats.claims.claim import TOO_FEW
from normlab.stats.claims.looks import NOT_YET
from normlab.stats.sequential import LOOKS, look_alphas

CLAIM = Better(0, 1, 0.003)
ALPHAS = look_alphas(0.05)


def scores(difference: float, seeds: int, seed: int = 0) -> np.ndarray:
    noise = 0.0045 * np.random.default_rng(seed).standard_normal((2, seeds))
    return np.array([[0.9 + difference], [0.9]]) + noise


def test_the_first_look_that_settles_it_is_the_verdict() -> None:
    table = scores(0.02, 20)
    found = verdict_at_looks(CLAIM, table, Rules(), LOOKS)
    assert (found.verdict, found.seeds) == ("supported", (10, 10))
    assert found.alpha == pytest.approx(ALPHAS[1])
    # What comes after a claim is settled does not unsettle it.
    later = np.hstack([table[:, :10], table[::-1, 10:]])
    assert verdict_at_looks(CLAIM, later, Rules(), LOOKS) == found


def test_seeds_between_looks_are_not_looked_at() -> None:
    found = verdict_at_looks(CLAIM, scores(0.001, 17), Rules(family=2), LOOKS)
    assert found.verdict == "inconclusive"
    assert found.seeds == (10, 10)
    assert found.alpha == pytest.approx(ALPHAS[1] / 2)


def test_seeds_to_settle_are_for_the_last_look() -> None:
    found = verdict_at_looks(CLAIM, scores(0.001, 10), Rules(), LOOKS)
    assert 25 < found.seeds_to_settle < 120  # at the first looks' alphas it would be hundreds


def test_before_the_first_look_nothing_is_settled() -> None:
    found = verdict_at_looks(CLAIM, scores(0.5, 4), Rules(), LOOKS)
    assert (found.verdict, found.reason, found.size) == ("inconclusive", NOT_YET, None)
    found = verdict_at_looks(CLAIM, scores(0.5, 1), Rules(), LOOKS)
    assert found.reason == TOO_FEW.format(3)


def test_before_the_first_look_no_pair_is_shown_and_no_side_ruled_out() -> None:
    table = np.vstack([scores(0.5, 4), scores(0.5, 4)])
    for claim in (Ranking((0, 1, 2), 0.003), Best(1, (0, 2), 0.003)):
        assert verdict_at_looks(claim, table, Rules(), [4]).pairs
        found = verdict_at_looks(claim, table, Rules(), LOOKS)
        assert (found.reason, found.pairs) == (NOT_YET, ())
        assert found.candidates == (claim.sides if isinstance(claim, Best) else ())


def test_one_look_is_the_plain_test() -> None:
    found = verdict_at_looks(CLAIM, scores(0.02, 5), Rules(), [5])
    assert found.alpha == pytest.approx(0.05)
    assert found.verdict == "supported"


def test_times_are_looked_at_alike() -> None:
    times = np.random.default_rng(0).normal([[20.0], [80.0]], 3.0, size=(2, 12))
    found = verdict_at_looks(Faster(0, 1), Times(times, times > 0, 200.0), Rules(), LOOKS)
    assert (found.verdict, found.seeds) == ("supported", (10, 10))
