"""How many seeds a claim needs, and whether any outcome could settle it at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from normlab.stats.claims.claim import Claim, MeanClaim
from normlab.stats.claims.evidence import by_t, check_test
from normlab.stats.claims.verdict import Rules, Verdict
from normlab.stats.intervals import Values
from normlab.stats.permutation import smallest_p
from normlab.stats.power import Design, seeds_for_better
from normlab.wording import OUT_OF_REACH


@dataclass(frozen=True)
class Settles:
    """Whether there is any outcome, however clear, that would settle a claim.

    Attributes:
        supported: Some outcome supports it.
        refuted: Some outcome refutes it.
        smallest_p: The smallest two-sided p that the test can give; 0 for t tests.
        alpha: What the claim is tested at.
        reason: What stands in the way, with both numbers; empty if nothing does.
    """

    supported: bool
    refuted: bool
    smallest_p: float
    alpha: float
    reason: str

    def __bool__(self) -> bool:
        return self.supported or self.refuted


def could_settle(
    claim: Claim, seeds: int, rules: Rules, *, arms: int | None = None, span: float = 1.0
) -> Settles:
    """Look for an outcome that would settle a claim: the clearest one the metric allows.

    Args:
        claim: What is said.
        seeds: Seeds an arm.
        rules: How claims are tested; with looks `alpha` is that of the look with most seeds.
        arms: Arms of the study, if `claim` does not name the last one.
        span: Largest difference of two scores: 1 for accuracies.

    Raises:
        UserError: A permutation test of a claim that has none.
    """
    alpha = rules.claim_alpha
    if seeds < claim.fewest:
        reason = f"fewer than {claim.fewest} seeds per arm settle nothing"
        return Settles(False, False, 1.0, alpha, reason)
    if claim.test == "t":
        return _by_t(claim, claim.contrasts(arms or max(claim.arms) + 1), seeds, rules, span)
    if isinstance(claim, MeanClaim):
        check_test(claim.kind, claim.test, claim.contrasts(arms or max(claim.arms) + 1), rules)
    return _by_permutation(claim, seeds, rules)


def _by_permutation(claim: Claim, seeds: int, rules: Rules) -> Settles:
    alpha, smallest = rules.claim_alpha, _smallest_p(claim, seeds, rules)
    supported = (smallest / 2 if claim.one_sided_p else smallest) <= alpha
    refuted = smallest <= alpha / claim.alternatives
    if supported and refuted:
        return Settles(True, True, smallest, alpha, "")
    enough = fewest_for_permutation(claim, rules, alpha=alpha)
    reason = (
        f"permuting {seeds} seeds per arm gives no p below {smallest:.3g}, and this claim is "
        f"tested at {alpha:.3g} ({rules.alpha:.3g} over {rules.family} in the family): it can "
        f"{_can(supported, refuted)}; "
        + (f"{enough} seeds per arm are enough" if enough else "no number of seeds is enough")
    )
    return Settles(supported, refuted, smallest, alpha, reason)


def _by_t(claim: Claim, weights: Values, seeds: int, rules: Rules, span: float) -> Settles:
    """At no spread but the floor, which is as narrow as an interval can be."""
    alpha = rules.claim_alpha
    same = np.zeros((weights.shape[1], seeds))
    found = by_t(same, weights, replace(rules, relative=False))
    half = float(found.limits(alpha / claim.alternatives)[1].max())
    supported, refuted = claim.within_reach(found, alpha, span)
    if supported and refuted:
        return Settles(True, True, 0.0, alpha, "")
    reason = (
        f"{seeds} seeds per arm leave {half:.3g} on each side of the estimate even without any "
        f"spread, at {alpha:.3g} ({rules.alpha:.3g} over {rules.family} in the family): the claim "
        f"can {_can(supported, refuted)}"
    )
    return Settles(supported, refuted, 0.0, alpha, reason)


def _can(supported: bool, refuted: bool) -> str:
    if supported or refuted:
        return f"only be {'supported' if supported else 'refuted'}"
    return "neither be supported nor refuted"


def fewest_for_permutation(
    claim: Claim, rules: Rules, *, alpha: float, most: int = 100
) -> int | None:
    """Fewest seeds per arm with which a permutation test could both support and refute a claim."""
    level = alpha / claim.alternatives
    tried = range(claim.fewest, most + 1)
    return next((n for n in tried if _smallest_p(claim, n, rules) <= level), None)


def seeds_to_settle(
    claim: Claim, judged: Verdict, designs: Sequence[Design], rules: Rules, *, alpha: float
) -> int | None:
    """Seeds an arm that would settle an open claim with the declared power, None if it is settled.

    As many as the margin needs with the spreads seen: they support a difference of the margin and
    refute one of 0. If the claim has that many and is open, the truth lies in between, and the
    farther of both, 0 or the margin, is to be excluded at the difference seen. Of several pairs
    each must hold, or one be in reverse at the difference seen: the fewer of the two.
    """
    if judged.verdict != "inconclusive" or not designs:
        return None
    now = min(judged.seeds)
    needed: list[int | None] = []
    # Each of several pairs must hold: then their powers' shortfalls add up.
    power = 1 - (1 - rules.power) / len(designs)
    for at, design in enumerate(designs):
        if judged.pairs and judged.pairs[at].holds:
            continue
        estimate = judged.pairs[at].estimate if judged.pairs else judged.estimate
        needed.append(
            claim.planner.more(design, judged.margin, estimate, now, alpha=alpha, power=power)
        )
    in_order = None if None in needed else max((n for n in needed if n is not None), default=None)
    reverse = _to_reverse(judged, designs, alpha=alpha / len(designs), power=rules.power)
    ways = [seeds for seeds in (in_order, *reverse) if seeds is not None]
    permuting = claim.test == "permutation"
    fewest = fewest_for_permutation(claim, rules, alpha=alpha) if permuting else now + 1
    return None if fewest is None or not ways else max(now + 1, fewest, claim.fewest, min(ways))


def smallest_settled(
    claim: Claim, designs: Sequence[Design], rules: Rules, *, alpha: float
) -> float:
    """The smallest margin that `OUT_OF_REACH` seeds would settle, at the spreads seen."""
    power = 1 - (1 - rules.power) / len(designs)
    return max(
        claim.planner.smallest(design, OUT_OF_REACH, alpha=alpha, power=power) for design in designs
    )


def _to_reverse(
    judged: Verdict, designs: Sequence[Design], *, alpha: float, power: float
) -> list[int | None]:
    """Seeds that would show each pair in reverse whose difference seen is."""
    return [
        seeds_for_better(design, -pair.estimate, alpha=alpha, power=power)
        for pair, design in zip(judged.pairs, designs, strict=False)
        if pair.estimate < 0
    ]


def _smallest_p(claim: Claim, seeds: int, rules: Rules) -> float:
    in_pairs = rules.paired and isinstance(claim, MeanClaim)
    return smallest_p(seeds, None if in_pairs else seeds)
