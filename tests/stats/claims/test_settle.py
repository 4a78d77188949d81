import numpy as np
import pytest

from normlab.stats import one_image_variance
from normlab.stats.claims import (
    AtLeast,
    Best,
    Better,
    Equal,
    Faster,
    Ranking,
    Rules,
    Trend,
    could_settle,
    verdict,
)
from normlab.stats.power import Design, seeds_for_better

SPREAD = 0.0045
PATTERN = np.array([-1.0, -1, -1, 1, 1, 1]) * np.sqrt(5 / 6) * SPREAD


def test_a_permutation_claim_at_three_seeds_cannot_be_settled() -> None:
    found = could_settle(Better(0, 1, 0.003, test="permutation"), 3, Rules(family=2))
    assert not found
    assert (found.smallest_p, found.alpha) == (pytest.approx(0.1), 0.025)
    assert "no p below 0.1" in found.reason
    assert "0.025 (0.05 over 2 in the family)" in found.reason
    assert "neither be supported nor refuted" in found.reason
    assert "5 seeds per arm are enough" in found.reason


def test_permutation_claims_by_seeds_and_family() -> None:
    claim = Better(0, 1, 0.003, test="permutation")
    assert could_settle(claim, 4, Rules())
    assert not could_settle(claim, 4, Rules(family=2))
    assert not could_settle(claim, 5, Rules(paired=True))
    assert could_settle(claim, 6, Rules(paired=True))


def test_equal_may_be_supported_where_it_cannot_be_refuted() -> None:
    # Five pairs: a one-sided 1/32 is below 0.05, the two-sided 2/32 is not.
    found = could_settle(Equal(0, 1, 0.003, test="permutation"), 5, Rules(paired=True))
    assert found
    assert (found.supported, found.refuted) == (True, False)
    assert "only be supported" in found.reason


def test_best_is_refuted_at_a_corrected_level() -> None:
    claim = Best(0, (1, 2), 0.003, test="permutation")
    found = could_settle(claim, 4, Rules())
    assert (found.supported, found.refuted) == (True, False)
    assert "5 seeds per arm are enough" in found.reason


def test_faster_is_a_permutation_test_whatever_the_pairing() -> None:
    assert not could_settle(Faster(0, 1), 3, Rules())
    assert could_settle(Faster(0, 1), 4, Rules(paired=True))


def test_fewer_than_three_seeds_settle_nothing() -> None:
    found = could_settle(Better(0, 1, 0.003), 2, Rules())
    assert not found
    assert found.reason == "fewer than 3 seeds per arm settle nothing"
    assert could_settle(Better(0, 1, 0.003), 3, Rules())
    assert not could_settle(AtLeast(0, 0.9, 0.003), 4, Rules())
    assert could_settle(AtLeast(0, 0.9, 0.003), 5, Rules())


def test_the_floor_can_be_wider_than_a_margin() -> None:
    rules = Rules(variance_floor=float(one_image_variance(100)))
    found = could_settle(Equal(0, 1, 0.003), 3, rules)
    assert (found.supported, found.refuted) == (False, True)
    assert could_settle(Equal(0, 1, 0.003), 30, rules).supported


def test_t_tests_of_several_arms() -> None:
    assert could_settle(Trend((0, 1, 2), 0.003), 3, Rules())
    assert could_settle(Ranking((0, 1, 2), 0.003), 3, Rules(paired=True))


def test_what_cannot_be_settled_is_not_even_at_the_clearest_outcome() -> None:
    clear = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    claim = Better(0, 1, 0.003, test="permutation")
    assert verdict(claim, clear, Rules()).verdict == "inconclusive"


def open_verdict(claim: Better | Equal, difference: float, copies: int = 1):
    table = np.tile(np.array([[0.9 + difference], [0.9]]) + PATTERN, copies)
    return verdict(claim, table, Rules())


def test_seeds_to_settle_are_the_planner_s_for_the_spread_seen() -> None:
    assert open_verdict(Better(0, 1, 0.003), 0.001).seeds_to_settle == 37
    assert open_verdict(Equal(0, 1, 0.003), 0.001).seeds_to_settle == 40


def test_past_the_plan_the_difference_seen_counts() -> None:
    # 48 seeds and open, at half the margin: four times the seeds, for the spread of 48.
    found = open_verdict(Better(0, 1, 0.003), 0.0015, copies=8)
    assert found.verdict == "inconclusive"
    assert 100 < found.seeds_to_settle < 150
    found = open_verdict(Equal(0, 1, 0.003), 0.0029, copies=8)
    assert found.verdict == "inconclusive"
    assert found.seeds_to_settle is None  # at the margin itself no number of seeds would do


def test_every_open_pair_of_a_ranking_must_be_settled() -> None:
    table = np.array([[0.95], [0.9], [0.8995]]) + PATTERN
    found = verdict(Ranking((0, 1, 2), 0.003), table, Rules())
    assert found.verdict == "inconclusive"
    # One pair is open, with a power of 1 - 0.2 / 2: more than the 37 seeds of a single pair.
    assert found.seeds_to_settle == 49


def test_a_pair_in_reverse_settles_a_ranking_sooner_than_all_in_order() -> None:
    means = np.array([[0.9], [0.905], [0.9045]])
    claim = Ranking((0, 1, 2), 0.003)
    found = verdict(claim, means + PATTERN, Rules())
    assert found.verdict == "inconclusive"
    seeds = found.seeds_to_settle
    # At half of alpha, for there are two pairs; the other pair alone would need 49.
    assert seeds == seeds_for_better(Design((SPREAD, SPREAD)), 0.005, alpha=0.025, power=0.8) < 49
    rng = np.random.default_rng(0)
    words = [
        verdict(claim, means + SPREAD * rng.standard_normal((3, seeds)), Rules()).verdict
        for _ in range(400)
    ]
    assert 0.75 < words.count("refuted") / 400 < 0.88
