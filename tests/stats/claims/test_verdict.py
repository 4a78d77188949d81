import numpy as np
import pytest
from scipy import stats

from normlab.errors import UserError
from normlab.stats import Times, one_image_variance
from normlab.stats.claims import (
    Best,
    Better,
    Claim,
    Equal,
    Faster,
    Interaction,
    Ranking,
    Rules,
    Trend,
    verdict,
)
from normlab.stats.claims.claim import TOO_FEW
from normlab.stats.claims.faster import NEVER_REACHED

# Eight values of mean 0 and variance 1: an arm is its mean plus these, so limits are by hand.
PATTERN = np.array([-1.0, -1, -1, -1, 1, 1, 1, 1]) * np.sqrt(7 / 8)
HALF = stats.t.ppf(0.975, 14) * np.sqrt(2 / 8)  # of a difference of two arms: 1.072
RULES = Rules()


def scores(*means: float) -> np.ndarray:
    return np.array(means)[:, None] + PATTERN


@pytest.mark.parametrize(
    ("mean", "margin", "word", "size"),
    [
        (5.0, 1.0, "supported", "materially"),
        (2.0, 1.0, "supported", None),
        (1.2, 3.0, "supported", "immaterially"),
        (0.5, 2.0, "refuted", None),
        (-3.0, 1.0, "refuted", None),
        (0.5, 1.0, "inconclusive", None),
    ],
)
def test_better(mean: float, margin: float, word: str, size: str | None) -> None:
    found = verdict(Better(1, 0, margin), scores(0.0, mean), RULES)
    assert (found.verdict, found.size) == (word, size)
    assert (found.low, found.high) == pytest.approx((mean - HALF, mean + HALF))
    assert found.estimate == pytest.approx(mean)
    assert (found.p <= found.alpha) == (word != "inconclusive")
    assert (found.seeds_to_settle is not None) == (word == "inconclusive")


@pytest.mark.parametrize(
    ("mean", "margin", "word"),
    [
        (0.0, 1.0, "supported"),
        (3.0, 1.0, "refuted"),
        (-3.0, 1.0, "refuted"),
        (1.0, 1.0, "inconclusive"),
    ],
)
def test_equal(mean: float, margin: float, word: str) -> None:
    found = verdict(Equal(1, 0, margin), scores(0.0, mean), RULES)
    inner = stats.t.ppf(0.95, 14) * np.sqrt(2 / 8)  # 0.881: within 1 where 1.072 is not
    half = HALF if word == "refuted" else inner
    assert found.verdict == word
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.confidence == pytest.approx(0.95 if word == "refuted" else 0.9)
    assert (found.p <= found.alpha) == (word != "inconclusive")


def test_best_is_supported_against_every_other_side() -> None:
    found = verdict(Best(1, (0, 2), 0.5), scores(0.0, 2.0, 0.5), RULES)
    assert found.verdict == "supported"
    assert found.candidates == (1,)
    assert [pair.holds for pair in found.pairs] == [True, True]
    assert found.estimate == pytest.approx(1.5)  # the closest rival's


def test_best_is_refuted_by_one_better_side() -> None:
    found = verdict(Best(0, (1, 2), 0.5), scores(0.0, -2.0, 2.0), RULES)
    assert found.verdict == "refuted"
    assert found.candidates == (2,)
    assert [pair.reversed for pair in found.pairs] == [False, True]
    assert found.between == (0, 2)
    # Corrected for two rivals.
    half = stats.t.ppf(1 - 0.05 / 4, 14) * np.sqrt(2 / 8)
    assert (found.low, found.high) == pytest.approx((-2 - half, -2 + half))


def test_best_is_open_with_the_sides_that_could_be_it() -> None:
    found = verdict(Best(0, (1, 2), 0.5), scores(0.0, -0.5, -5.0), RULES)
    assert found.verdict == "inconclusive"
    assert found.candidates == (0, 1)
    assert found.seeds_to_settle is not None


def test_the_correction_is_what_keeps_a_lucky_rival_from_refuting() -> None:
    means = (0.0, *([1.1] + [0.0] * 5))
    assert verdict(Better(1, 0, 0.5), scores(*means), RULES).verdict == "supported"
    assert (
        verdict(Best(0, (1, 2, 3, 4, 5, 6), 0.5), scores(*means), RULES).verdict == "inconclusive"
    )


def test_ranking() -> None:
    found = verdict(Ranking((2, 1, 0), 0.5), scores(0.0, 2.0, 4.0), RULES)
    assert (found.verdict, found.size) == ("supported", "materially")
    found = verdict(Ranking((2, 0, 1), 0.5), scores(0.0, 2.0, 4.0), RULES)
    assert found.verdict == "refuted"
    assert [(pair.first, pair.second, pair.holds, pair.reversed) for pair in found.pairs] == [
        (2, 0, True, False),
        (0, 1, False, True),
    ]
    assert found.between == (0, 1)


def test_an_open_ranking_names_the_pairs_that_hold() -> None:
    found = verdict(Ranking((2, 1, 0), 0.5), scores(0.0, 0.1, 4.0), RULES)
    assert found.verdict == "inconclusive"
    assert [pair.holds for pair in found.pairs] == [True, False]
    assert "1 of 2" in found.reason


def test_trend_and_interaction() -> None:
    rising = Trend((0, 1, 2), 1.0, (1.0, 2.0, 3.0))
    found = verdict(rising, scores(0.0, 1.0, 2.0), RULES)
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx(2.0)
    assert verdict(rising, scores(2.0, 1.0, 0.0), RULES).verdict == "refuted"
    gains = Interaction(0, 1, 2, 3, 1.0)
    found = verdict(gains, scores(5.0, 0.0, 2.0, 1.0), RULES)
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx(4.0)


CLAIMS: list[Claim] = [
    Better(0, 1, 0.3),
    Equal(0, 1, 0.3),
    Best(0, (1, 2), 0.3),
    Ranking((0, 1, 2), 0.3),
    Trend((0, 1, 2), 0.3),
    Interaction((0, 1), 2, 0, 1, 0.3),
    Better(0, 1, 0.3, test="permutation"),
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.kind}-{claim.test}")
def test_one_seed_settles_nothing(claim: Claim) -> None:
    found = verdict(claim, np.array([[99.0, np.nan], [1.0, 1.1], [0.0, 0.1]]), RULES)
    assert (found.verdict, found.reason) == ("inconclusive", TOO_FEW.format(3))
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isfinite(found.estimate)


def test_missing_trials_of_other_arms_do_not_matter() -> None:
    table = np.vstack([scores(0.0, 5.0), np.full((1, 8), np.nan)])
    found = verdict(Better(1, 0, 1.0), table, RULES)
    assert (found.verdict, found.seeds) == ("supported", (8, 8))


def test_a_family_is_tested_at_its_share() -> None:
    family = Rules(family=10)
    found = verdict(Better(1, 0, 1.0), scores(0.0, 1.2), family)
    assert found.alpha == pytest.approx(0.005)
    assert found.verdict == "inconclusive"
    assert verdict(Better(1, 0, 1.0), scores(0.0, 1.2), RULES).verdict == "supported"


def test_paired_seeds_take_out_what_they_share() -> None:
    shared = 10 * np.random.default_rng(0).normal(size=8)
    table = scores(0.0, 0.0) + shared
    table[1] += 0.5 + 0.1 * PATTERN
    assert verdict(Better(1, 0, 0.3), table, RULES).verdict == "inconclusive"
    found = verdict(Better(1, 0, 0.3), table, Rules(paired=True))
    assert (found.verdict, found.size) == ("supported", "materially")


def test_paired_claims_take_seeds_that_all_their_arms_have() -> None:
    table = scores(0.0, 1.0, 2.0)
    table[0, 0] = table[2, 1] = np.nan
    assert verdict(Ranking((2, 1, 0), 0.3), table, Rules(paired=True)).seeds == (6, 6, 6)


def test_equal_scores_are_believed_to_one_test_image() -> None:
    table = np.full((2, 3), 0.99)
    table[0] += 0.001
    coarse = Rules(variance_floor=float(one_image_variance(100)))
    fine = Rules(variance_floor=float(one_image_variance(10_000)))
    assert verdict(Better(0, 1, 0.0005), table, coarse).verdict == "inconclusive"
    assert verdict(Better(0, 1, 0.0005), table, fine).verdict == "supported"


def test_a_permutation_claim() -> None:
    table = np.array([[5.0, 6, 7, 8, 9], [0.0, 1, 2, 3, 4], [0.5, 1, 2, 3, 4]])
    found = verdict(Better(0, 1, 0.5, test="permutation"), table, RULES)
    assert found.verdict == "supported"
    assert found.p == pytest.approx(2 / 252)
    found = verdict(Better(0, 1, 0.5, test="permutation"), table[:, :3], RULES)
    assert found.verdict == "inconclusive"
    assert found.seeds_to_settle >= 4
    found = verdict(Best(0, (1, 2), 0.5, test="permutation"), table, RULES)
    assert found.verdict == "supported"
    found = verdict(Equal(1, 2, 3.0, test="permutation"), table, RULES)
    assert found.verdict == "supported"


def test_sign_flips_where_arms_are_paired() -> None:
    table = scores(0.0, 5.0)
    found = verdict(Better(1, 0, 1.0, test="permutation"), table, Rules(paired=True))
    assert found.p == pytest.approx(2 / 256)


def test_no_permutation_test_of_averaged_arms() -> None:
    claim, table = Trend((0, 1, 2, 3), 1.0, test="permutation"), scores(0.0, 3.0, 6.0, 9.0)
    with pytest.raises(UserError, match="trend: test 'permutation' compares one arm with another"):
        verdict(claim, table, RULES)
    assert verdict(claim, table, Rules(paired=True)).verdict == "supported"
    gains = Interaction(0, 1, 2, 3, 1.0, test="permutation")  # weights 1 and -1, of four arms
    with pytest.raises(UserError, match="interaction: test 'permutation'"):
        verdict(gains, table, RULES)


def times(first: list[float], second: list[float], budget: float = 100.0) -> Times:
    table = np.array([first, second])
    return Times(np.minimum(table, budget), table <= budget, budget)


QUICK, SLOW = [10.0, 11, 12, 13, 14], [40.0, 42, 44, 46, 300]


def test_faster() -> None:
    found = verdict(Faster(0, 1), times(QUICK, SLOW), RULES)
    assert found.verdict == "supported"
    assert found.estimate == pytest.approx((40 + 42 + 44 + 46 + 100) / 5 - 12)
    assert found.margin == pytest.approx(0.05 * 54.4)
    assert found.successes == (5, 4)
    assert verdict(Faster(1, 0), times(QUICK, SLOW), RULES).verdict == "refuted"
    found = verdict(Faster(0, 1), times(QUICK, [9.0, 12, 12, 13, 16]), RULES)
    assert found.verdict == "inconclusive"
    assert found.seeds_to_settle is not None


def test_faster_needs_someone_to_arrive() -> None:
    found = verdict(Faster(0, 1), times([200.0] * 5, [200.0] * 5), RULES)
    assert (found.verdict, found.reason) == ("inconclusive", NEVER_REACHED)
    found = verdict(Faster(0, 1), times([200.0], [10.0]), RULES)
    assert (found.verdict, found.reason) == ("inconclusive", TOO_FEW.format(3))


def test_scores_and_times_are_not_mixed_up() -> None:
    with pytest.raises(UserError, match="needs times"):
        verdict(Faster(0, 1), scores(0.0, 1.0), RULES)
    with pytest.raises(UserError, match="needs scores"):
        verdict(Better(0, 1, 1.0), times(QUICK, SLOW), RULES)
