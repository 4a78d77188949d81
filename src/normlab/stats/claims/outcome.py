"""From a claim's estimates to its verdict: the row of the table, and what goes with it."""

from __future__ import annotations

from collections.abc import Sequence

from normlab.stats.claims import reasons
from normlab.stats.claims.base import Pair, Size, Verdict, Word
from normlab.stats.claims.kinds import Best, Claim, Equal, Ranking
from normlab.stats.claims.rows import REFUTED, SUPPORTED, decide
from normlab.stats.contrasts import Estimates, tost, two_sided
from normlab.stats.intervals import Values

WORDS: dict[int, Word] = {SUPPORTED: "supported", REFUTED: "refuted", 0: "inconclusive"}


def outcome(
    claim: Claim, found: Estimates, *, alpha: float, margin: float, seeds: Sequence[int]
) -> Verdict:
    """The verdict on a claim, without the seeds that would settle it.

    Args:
        claim: What is said.
        found: Estimates of its contrasts (contrasts,).
        alpha: What it is tested at.
        margin: In the unit of the estimates.
        seeds: As of `Verdict.seeds`.
    """
    word = WORDS[int(decide(claim, found, alpha, margin))]
    size: Size | None = None
    pairs: tuple[Pair, ...] = ()
    level = alpha  # of the limits shown
    if isinstance(claim, Equal):
        level = alpha if word == "refuted" else 2 * alpha
    elif word == "refuted":
        level = alpha / len(found.estimate)
    low, high = found.limits(level)
    at = int(high.argmin() if word == "refuted" else low.argmin())
    if isinstance(claim, Equal):
        p, reason = _equal_p(found, word, margin), reasons.equal(word)
    else:
        size = _size(low, high, margin) if word == "supported" else None
        p, reason = _above_p(found, word, margin), reasons.better(word, size, float(high[at]))
    if isinstance(claim, Best | Ranking):
        pairs = _pairs(claim, found, word, alpha)
        reason = reasons.best(word) if isinstance(claim, Best) else reasons.ranking(word, pairs)
    return Verdict(
        kind=claim.kind,
        verdict=word,
        reason=reason,
        estimate=float(found.estimate[at]),
        low=float(low[at]),
        high=float(high[at]),
        confidence=1 - level,
        p=p,
        alpha=alpha,
        margin=margin,
        seeds=tuple(seeds),
        between=claim.pairs[at] if claim.pairs else None,
        size=size,
        pairs=pairs,
    )


def _above_p(found: Estimates, word: Word, margin: float) -> float:
    """Two-sided p that is at most alpha exactly where the verdict is not open."""
    contrasts = len(found.estimate)
    if contrasts > 1:  # all above 0; or, corrected, one below
        if word == "refuted":
            return float(min(1.0, 2 * contrasts * found.below(0.0).min()))
        return float(min(1.0, 2 * found.above(0.0).max()))
    if word == "refuted":
        return float(min(1.0, 2 * found.below(margin)[0]))
    return float(two_sided(found)[0])


def _equal_p(found: Estimates, word: Word, margin: float) -> float:
    if word != "refuted":
        return float(tost(found, margin)[0])
    return float(min(1.0, 2 * min(found.above(margin)[0], found.below(-margin)[0])))


def _size(low: Values, high: Values, margin: float) -> Size | None:
    if (low > margin).all():
        return "materially"
    return "immaterially" if (high < margin).any() else None


def _pairs(claim: Best | Ranking, found: Estimates, word: Word, alpha: float) -> tuple[Pair, ...]:
    low, high = found.limits(alpha)
    corrected_low, corrected_high = found.limits(alpha / len(low))
    return tuple(
        Pair(
            first=first,
            second=second,
            estimate=float(found.estimate[at]),
            low=float(low[at]),
            high=float(high[at]),
            holds=word == "supported" or bool(corrected_low[at] > 0),
            reversed=bool(corrected_high[at] < 0),
        )
        for at, (first, second) in enumerate(claim.pairs)
    )
