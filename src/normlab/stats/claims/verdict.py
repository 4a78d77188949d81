"""How claims are tested, and what comes out: sides of arms, rules, a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from normlab.stats.claims.sides import Side

Word = Literal["supported", "refuted", "inconclusive"]
InProgress = Literal["in progress"]
"""In a verdict's place between looks: only an estimate is shown then."""
Size = Literal["materially", "immaterially"]


@dataclass(frozen=True)
class Rules:
    """What a study declares before the run about all of its claims.

    Attributes:
        alpha: Error rate of the family; where seeds are added, that of a single look.
        family: Number of claims declared: each is tested at alpha / family (Bonferroni).
        paired: Whether arms are paired by seed.
        relative: Whether differences and margins are fractions of what an arm is compared with.
        variance_floor: Least variance of an arm to believe; `one_image_variance(n_test)`.
        power: Chance of settling a claim that seeds are planned for.
    """

    alpha: float = 0.05
    family: int = 1
    paired: bool = False
    relative: bool = False
    variance_floor: float = 0.0
    power: float = 0.8

    @property
    def claim_alpha(self) -> float:
        """What one claim is tested at."""
        return self.alpha / self.family


@dataclass(frozen=True)
class Pair:
    """One of the contrasts of `best` or `ranking`.

    Attributes:
        first: The side said to be better.
        second: The other.
        estimate: Difference of their means.
        low: Limits at the claim's alpha.
        high: See `low`.
        holds: Above 0, at a level corrected for the number of pairs unless all of them are.
        reversed: Below 0, at that level.
    """

    first: Side
    second: Side
    estimate: float
    low: float
    high: float
    holds: bool
    reversed: bool


@dataclass(frozen=True)
class Verdict:
    """What the trials say about one claim.

    Attributes:
        kind: Of the claim.
        verdict: `supported`, `refuted` or `inconclusive`; `in progress` where a study is watched
            between its looks.
        reason: Why, in one plain sentence.
        estimate: The contrast in the claim's direction; of `best` and `ranking` the one of
            `between`.
        low: Limits that belong to the verdict; NaN where an arm has too few seeds.
        high: See `low`.
        confidence: Of these limits: 1 - alpha; 1 - 2 alpha of `at_least`, and of `equal` unless it
            is refuted.
        p: Of the test behind the verdict; at most `alpha` where the claim is supported.
        alpha: What the claim was tested at, after Bonferroni (and spending).
        margin: In the scores' unit; of `faster` in units of time.
        seeds: Trials with a score, per arm of the claim in the order of `Claim.arms`; paired:
            complete seeds.
        between: Of `best` and `ranking`: the pair with the most against the claim, whose limits
            the verdict rests on.
        size: `materially` above the margin, `immaterially` below it, None where open.
        seeds_to_settle: Seeds an arm that would settle it, None where settled or unknown.
        reachable: The margin that `OUT_OF_REACH` seeds settle, where the claim's own needs more.
        pairs: Of `best` and `ranking`: each contrast.
        candidates: Of `best`: the sides that could still be the best one.
        successes: Of `faster` and `at_least`: trials of each arm that reached the target or value.
    """

    kind: str
    verdict: Word | InProgress
    reason: str
    estimate: float
    low: float
    high: float
    confidence: float
    p: float
    alpha: float
    margin: float
    seeds: tuple[int, ...]
    between: tuple[Side, Side] | None = None
    size: Size | None = None
    seeds_to_settle: int | None = None
    reachable: float | None = None
    pairs: tuple[Pair, ...] = ()
    candidates: tuple[Side, ...] = ()
    successes: tuple[int, ...] = ()
