"""Which test a claim asks for, and its estimates: Welch, paired t, permutation or sign flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from normlab.errors import UserError
from normlab.stats.claims.verdict import Rules
from normlab.stats.contrasts import Estimates, TEstimates, paired, paired_values, welch
from normlab.stats.intervals import Values, moments
from normlab.stats.permutation import sign_flip, two_sample
from normlab.stats.relative import relative


@dataclass(frozen=True)
class Several:
    """Estimates of single contrasts side by side, as one."""

    parts: Sequence[Estimates]

    @property
    def estimate(self) -> Values:
        """(contrasts,)."""
        return np.concatenate([part.estimate for part in self.parts])

    def limits(self, alpha: float) -> tuple[Values, Values]:
        """(contrasts,) each."""
        low, high = zip(*(part.limits(alpha) for part in self.parts), strict=True)
        return np.concatenate(low), np.concatenate(high)

    def above(self, null: float) -> Values:
        """(contrasts,)."""
        return np.concatenate([part.above(null) for part in self.parts])

    def below(self, null: float) -> Values:
        """(contrasts,)."""
        return np.concatenate([part.below(null) for part in self.parts])


def estimates(
    kind: str,
    test: str,
    scores: Values,
    weights: Values,
    *,
    rules: Rules,
    rng: np.random.Generator,
) -> Estimates:
    """Estimates of contrasts by a claim's test.

    Args:
        kind: Of the claim, for messages.
        test: `t` or `permutation`.
        scores: (arms, seeds).
        weights: (contrasts, arms).
        rules: Says whether arms are paired.
        rng: For arrangements too many to count.

    Raises:
        UserError: Permutation of something else than two arms; see `check_test`.
    """
    if test == "permutation":
        check_test(kind, test, weights, rules)
        return Several([_permuted(scores, row, rules, rng) for row in weights])
    return by_t(scores, weights, rules)


def by_t(scores: Values, weights: Values, rules: Rules) -> Estimates:
    """Welch's or the paired t estimates, as the rules say, over leading axes of studies."""
    if rules.relative:
        return relative(scores, weights, partial(_plain, rules=rules))
    return _plain(scores, weights, rules)


def _plain(scores: Values, weights: Values, rules: Rules) -> TEstimates:
    if rules.paired:
        return paired(scores, weights, variance_floor=rules.variance_floor)
    return welch(moments(scores), weights, variance_floor=rules.variance_floor)


def check_test(kind: str, test: str, weights: Values, rules: Rules) -> None:
    """Refuse a permutation test where exchanging seeds would test something else than the claim.

    Raises:
        UserError: Unpaired arms, and a contrast that is not one arm minus another.
    """
    if rules.relative and test != "t":
        raise UserError(
            f"{kind}: test 'permutation' has no margin in percent, and this claim's is. Allowed "
            "here: t, or a margin in the metric's unit."
        )
    highest, total = weights.max(axis=1), np.abs(weights).sum(axis=1)
    two_arms = bool(((highest == 1) & (total == 2)).all())
    if rules.paired or test == "t" or two_arms:
        return
    raise UserError(
        f"{kind}: test 'permutation' compares one arm with another unless arms are paired by "
        "seed, and this claim weighs several. Allowed here: t."
    )


def _permuted(scores: Values, row: Values, rules: Rules, rng: np.random.Generator) -> Estimates:
    if rules.paired:
        values = paired_values(scores, row)[0]
        return sign_flip(values[~np.isnan(values)], rng)
    first, second = scores[row.argmax()], scores[row.argmin()]
    return two_sample(first[~np.isnan(first)], second[~np.isnan(second)], rng)
