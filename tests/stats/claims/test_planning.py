import numpy as np
import pytest

from normlab.stats.claims import (
    Best,
    Better,
    Equal,
    Faster,
    Interaction,
    MeanClaim,
    Ranking,
    Rules,
    plan_claim,
    predict,
    verdict,
)

SPREAD = 0.0045
MARGIN = 0.003


def test_the_protocol_s_example() -> None:
    better = plan_claim(Better(0, 1, MARGIN), [SPREAD] * 2, 37, Rules())
    equal = plan_claim(Equal(0, 1, MARGIN), [SPREAD] * 2, 40, Rules())
    assert (better.seeds_needed, equal.seeds_needed) == (37, 40)
    assert better.smallest_effect == pytest.approx(MARGIN, rel=0.02)
    assert equal.smallest_effect == pytest.approx(MARGIN, rel=0.02)
    assert better.power == pytest.approx(0.8, abs=0.01)


def test_a_family_needs_more() -> None:
    plan = plan_claim(Better(0, 1, MARGIN), [SPREAD] * 2, 37, Rules(family=5))
    assert plan.alpha == pytest.approx(0.01)
    assert plan.seeds_needed > 50
    assert plan.power < 0.65


def test_pairing_helps_as_far_as_seeds_go_together() -> None:
    paired = Rules(paired=True)
    alone = plan_claim(Better(0, 1, MARGIN), [SPREAD] * 2, 10, paired)
    together = plan_claim(Better(0, 1, MARGIN), [SPREAD] * 2, 10, paired, correlation=0.75)
    assert together.smallest_effect == pytest.approx(alone.smallest_effect / 2, rel=1e-3)


def test_an_interaction_has_the_noise_of_four_arms() -> None:
    plan = plan_claim(Interaction(0, 1, 2, 3, MARGIN), [SPREAD] * 4, 10, Rules())
    single = plan_claim(Better(0, 1, MARGIN), [SPREAD] * 4, 10, Rules())
    assert plan.smallest_effect == pytest.approx(single.smallest_effect * np.sqrt(2), rel=0.03)


def test_what_cannot_be_settled_has_no_power() -> None:
    plan = plan_claim(Better(0, 1, MARGIN, test="permutation"), [SPREAD] * 2, 3, Rules())
    assert not plan.settles
    assert plan.power == 0
    wide = plan_claim(Better(0, 1, 0.1, test="permutation"), [SPREAD] * 2, 3, Rules())
    assert wide.seeds_needed == 4  # by t two would do
    assert np.isnan(plan.smallest_effect)


def test_faster_is_planned_in_fractions_of_the_second_arm_s_time() -> None:
    plan = plan_claim(Faster(0, 1, margin=0.05), [0.06, 0.06], 10, Rules())
    like = plan_claim(Better(0, 1, 0.05), [0.06, 0.06], 10, Rules())
    assert plan.smallest_effect == like.smallest_effect
    assert plan.seeds_needed == like.seeds_needed


@pytest.mark.parametrize("claim", [Best(0, (1, 2), MARGIN), Ranking((0, 1, 2), MARGIN)])
def test_of_several_pairs_the_plan_promises_no_more_than_happens(claim: MeanClaim) -> None:
    seeds = plan_claim(claim, [SPREAD] * 3, 10, Rules()).seeds_needed
    plan = plan_claim(claim, [SPREAD] * 3, seeds, Rules())
    means = [2 * MARGIN, MARGIN, MARGIN if claim.kind == "best" else 0.0]
    rng = np.random.default_rng(0)
    happens = predict(claim, means, [SPREAD] * 3, seeds, rules=Rules(), rng=rng).supported
    assert 0.8 <= plan.power <= happens + 0.01


def test_predicted_chances_are_the_planner_s() -> None:
    rng = np.random.default_rng(0)
    spreads = [SPREAD] * 2
    for rules in (Rules(), Rules(paired=True)):
        plan = plan_claim(Better(0, 1, MARGIN), spreads, 20, rules)
        found = predict(Better(0, 1, MARGIN), [MARGIN, 0], spreads, 20, rules=rules, rng=rng)
        assert found.supported == pytest.approx(plan.power, abs=0.015)
        assert sum(found) == pytest.approx(1)
    # At no difference at all the same seeds refute as often as they support a difference of delta.
    found = predict(Better(0, 1, MARGIN), [0, 0], spreads, 20, rules=Rules(), rng=rng)
    plan = plan_claim(Better(0, 1, MARGIN), spreads, 20, Rules())
    assert found.refuted == pytest.approx(plan.power, abs=0.03)


# Published differences: MNIST, batch over group norm, 0.07 points; ResNet-50 at batch 64, two BN
# slots, three dropout slots over two, 0.42; there, one dropout slot, two BN slots over three, 0.94.
@pytest.mark.parametrize("difference", [0.0007, 0.0042, 0.0094])
@pytest.mark.parametrize("seeds", [5, 10, 37])
def test_simulated_seeds_give_the_verdicts_the_planner_predicted(
    difference: float, seeds: int
) -> None:
    claim, spreads, rng = Better(0, 1, MARGIN), [SPREAD] * 2, np.random.default_rng(7)
    chances = predict(claim, [difference, 0.0], spreads, seeds, rules=Rules(), rng=rng)
    words = [
        verdict(claim, rng.normal([[difference], [0.0]], SPREAD, (2, seeds)), Rules()).verdict
        for _ in range(100)
    ]
    for word, chance in chances._asdict().items():
        assert words.count(word) / 100 == pytest.approx(chance, abs=0.15)
