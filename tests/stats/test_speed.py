"""All statistics that a report of 40 arms x 30 seeds needs, on one core."""

import time

import numpy as np

from normlab.stats import (
    Times,
    collapse_rates,
    moments,
    one_image_variance,
    pooled_t_intervals,
    t_intervals,
)
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
    plan_claim,
    verdict,
    verdict_at_looks,
)
from normlab.stats.factorial import factorial, level_means, logit_error
from normlab.stats.images import two_way_bootstrap
from normlab.stats.robust import stratified_bootstrap
from normlab.stats.sequential import LOOKS
from normlab.stats.survival import kaplan_meier, restricted_means

ARMS, SEEDS, IMAGES = 40, 30, 10_000


def test_a_large_report_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    factors = {
        "norm": [arm // 8 for arm in range(ARMS)],
        "batch": [arm // 2 % 4 for arm in range(ARMS)],
        "l2": [arm % 2 for arm in range(ARMS)],
    }
    scores = 0.9 + 0.0045 * rng.standard_normal((ARMS, SEEDS))
    correct = rng.random((ARMS, SEEDS, IMAGES), dtype=np.float32) < 0.9
    reached = rng.gamma(5, 10, size=(ARMS, SEEDS))
    times = Times(np.minimum(reached, 80.0), reached <= 80, 80.0)
    claims: list[Claim] = [
        Best(0, tuple(range(1, ARMS)), 0.003),
        Ranking(tuple(range(ARMS)), 0.003),
        Trend(tuple(range(ARMS)), 0.003),
        Interaction(0, 1, 2, 3, 0.003),
        Faster(0, 1),
        Faster(2, 3),
        Better(0, 1, 0.003, test="permutation"),
        *(Better(0, arm, 0.003) for arm in range(1, ARMS)),
        *(Equal(1, arm, 0.003) for arm in range(2, ARMS)),
    ]
    floor = float(one_image_variance(IMAGES))
    rules = Rules(family=len(claims), variance_floor=floor)

    factorial(scores[:, :2], {"l2": factors["l2"]})  # imports statsmodels: not what is timed
    begun = time.process_time()
    arms = moments(scores)
    t_intervals(*arms, variance_floor=floor)
    pooled_t_intervals(arms, variance_floor=floor)
    for arm in scores:
        stratified_bootstrap(arm, rng)
    two_way_bootstrap(list(correct), rng)
    for response in (scores, logit_error(scores, IMAGES)):
        factorial(response, factors)
        for levels in factors.values():
            level_means(response, levels)
    restricted_means(times)
    for some, hit in zip(times.times, times.reached, strict=True):
        kaplan_meier(some, hit)
    collapse_rates(scores, 0.1)
    for claim in claims:
        trials = times if isinstance(claim, Faster) else scores
        verdict(claim, trials, rules)
        verdict_at_looks(claim, trials, rules, LOOKS)
        plan_claim(claim, np.full(ARMS, 0.0045), SEEDS, rules)
    taken = time.process_time() - begun
    assert taken < 10, taken
