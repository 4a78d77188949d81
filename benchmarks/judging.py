"""The statistics of a large report beside the libraries that have them one by one, as ratios.

    python benchmarks/judging.py
    python benchmarks/judging.py --threads 1

40 arms x 30 seeds, made up, with 10,000 test images. Each row times both sides in turn on the same
values, after a warm-up: median milliseconds, and the median of the ratios theirs / ours. Both sides
draw as often and test as many pairs; that their answers agree is in the tests of `normlab.stats` (of
the draws that the loop makes too, ours takes the variance alone: `normlab.stats.images`). The last
row is everything that such a report asks for, 84 claims with their looks and plans among it: it has
no other side.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import lifelines
import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from timing import begin, interleaved, keep, options, ratio

from normlab.stats import (
    Times,
    collapse_rates,
    moments,
    one_image_variance,
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
from normlab.stats.contrasts import pair_weights, two_sided, welch
from normlab.stats.factorial import factorial, level_means, logit_error
from normlab.stats.images import two_way_bootstrap
from normlab.stats.permutation import two_sample
from normlab.stats.robust import iqm, stratified_bootstrap
from normlab.stats.sequential import LOOKS
from normlab.stats.survival import kaplan_meier, restricted_means

ARMS, SEEDS, IMAGES = 40, 30, 10_000
FACTORS = {
    "norm": [arm // 8 for arm in range(ARMS)],
    "batch": [arm // 2 % 4 for arm in range(ARMS)],
    "l2": [arm % 2 for arm in range(ARMS)],
}
CLAIMS: list[Claim] = [
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


class Made:
    """Values of one made-up study, and the two sides of every row on them."""

    def __init__(self) -> None:
        self.rng = rng = np.random.default_rng(0)
        self.scores = 0.9 + 0.0045 * rng.standard_normal((ARMS, SEEDS))
        self.correct = rng.random((ARMS, SEEDS, IMAGES), dtype=np.float32) < 0.9
        reached = rng.gamma(5, 10, size=(ARMS, SEEDS))
        self.times = Times(np.minimum(reached, 80.0), reached <= 80, 80.0)

    def rows(self) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """Per row ours and theirs."""
        rng, scores = self.rng, self.scores
        pairs = np.triu_indices(ARMS, k=1)
        table = pd.DataFrame(
            {
                "y": scores.ravel(),
                **{name: np.repeat(levels, SEEDS) for name, levels in FACTORS.items()},
            }
        )
        formula = "y ~ (C(norm, Sum) + C(batch, Sum) + C(l2, Sum)) ** 2"
        return {
            "Welch's t of all 780 pairs; SciPy": (
                lambda: two_sided(welch(moments(scores), pair_weights(ARMS))),
                lambda: stats.ttest_ind(
                    scores[pairs[0]], scores[pairs[1]], axis=1, equal_var=False
                ),
            ),
            "permutation test, 99,999 draws; SciPy": (
                lambda: two_sided(two_sample(scores[0], scores[1], rng)),
                lambda: stats.permutation_test(
                    (scores[0], scores[1]),
                    lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
                    n_resamples=99_999,
                    vectorized=True,
                ),
            ),
            "interquartile means, 2,000 draws an arm; SciPy": (
                lambda: [stratified_bootstrap(arm, rng) for arm in scores],
                lambda: [
                    stats.bootstrap(
                        (arm,),
                        lambda x, axis: iqm(np.moveaxis(x, axis, -1)[..., None, :]),
                        n_resamples=2000,
                        method="percentile",
                        vectorized=True,
                    )
                    for arm in scores
                ],
            ),
            "seeds and images, 1,000 draws of eight arms; a loop": (
                lambda: two_way_bootstrap(list(self.correct[:8]), rng),
                lambda: [loop_over_images(arm, rng) for arm in self.correct[:8]],
            ),
            "effects of three factors; statsmodels' formulas": (
                lambda: factorial(scores, FACTORS),
                lambda: anova_lm(ols(formula, table).fit(), typ=3),
            ),
            "Kaplan-Meier curves; lifelines": (
                lambda: [kaplan_meier(t, hit) for t, hit in zip(*self.observed(), strict=True)],
                lambda: [
                    lifelines.KaplanMeierFitter().fit(t, hit)
                    for t, hit in zip(*self.observed(), strict=True)
                ],
            ),
        }

    def observed(self) -> tuple[np.ndarray, np.ndarray]:
        return self.times.times, self.times.reached

    def report(self) -> None:
        """Everything that a report of these trials asks for."""
        scores, times, rng = self.scores, self.times, self.rng
        floor = float(one_image_variance(IMAGES))
        rules = Rules(family=len(CLAIMS), variance_floor=floor)
        t_intervals(*moments(scores), variance_floor=floor)
        for arm in scores:
            stratified_bootstrap(arm, rng)
        two_way_bootstrap(list(self.correct), rng)
        for response in (scores, logit_error(scores, IMAGES)):
            factorial(response, FACTORS)
            for levels in FACTORS.values():
                level_means(response, levels)
        restricted_means(times)
        for some, hit in zip(*self.observed(), strict=True):
            kaplan_meier(some, hit)
        collapse_rates(scores, 0.1)
        for claim in CLAIMS:
            trials = times if isinstance(claim, Faster) else scores
            verdict(claim, trials, rules)
            verdict_at_looks(claim, trials, rules, LOOKS)
            plan_claim(claim, np.full(ARMS, 0.0045), SEEDS, rules)


def loop_over_images(correct: np.ndarray, rng: np.random.Generator) -> list[float]:
    """As one would write it: draw seeds, draw images, take the mean of what is there."""
    seeds, images = correct.shape
    return [
        correct[rng.integers(seeds, size=seeds)][:, rng.integers(images, size=images)].mean()
        for _ in range(1000)
    ]


def main() -> None:
    given = options("The statistics of a report beside other libraries, as ratios.", 7).parse_args()
    begin(given)
    made = Made()
    rows: list[dict[str, object]] = []
    for name, (ours, theirs) in made.rows().items():
        times = interleaved({"ours": ours, "theirs": theirs}, given.rounds)
        row: dict[str, object] = {"statistic": name}
        row |= {f"{side}_ms": round(1e3 * median(took), 2) for side, took in times.items()}
        row["theirs / ours"] = round(ratio(times, "theirs", "ours"), 2)
        rows.append(row)
        print(row)
    whole = interleaved({"ours": made.report}, 3)["ours"]
    rows.append({"statistic": "the whole report", "ours_ms": round(1e3 * median(whole))})
    print(rows[-1])
    keep(rows, given)


if __name__ == "__main__":
    main()
