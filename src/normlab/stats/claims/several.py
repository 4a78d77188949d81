"""What `best` and `ranking` share: several pairs that must hold together.

"Every one" needs no correction (intersection-union: the claim is false if one is). "One of them is
in reverse" does: it has as many chances to err as pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

from normlab.stats.claims.claim import MeanClaim
from normlab.stats.claims.rows import Row, every_row
from normlab.stats.claims.sides import pair_text
from normlab.stats.claims.verdict import Pair, Verdict, Word
from normlab.stats.contrasts import Estimates


class Several(MeanClaim):
    """A claim that is supported where every one of its pairs is, and refuted where one reverses."""

    def row(self, found: Estimates, alpha: float, margin: float) -> Row:
        """Every contrast above 0, or one of them below, corrected for their number."""
        low, _ = found.limits(alpha)
        return every_row(low, found.limits(alpha / low.shape[-1])[1])

    def p(self, found: Estimates, word: Word, margin: float) -> float:
        """The largest of the pairs; of a refuted claim the smallest, corrected."""
        contrasts = len(found.estimate)
        if contrasts == 1:
            return super().p(found, word, margin)
        if word == "refuted":
            return float(min(1.0, 2 * contrasts * found.below(0.0).min()))
        return float(min(1.0, 2 * found.above(0.0).max()))

    def compared(self, found: Estimates, word: Word, alpha: float) -> tuple[Pair, ...]:
        """Each pair with its limits, and whether it holds or reverses after correction."""
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
            for at, (first, second) in enumerate(self.pairs)
        )


def in_order(found: Verdict, arms: Sequence[str]) -> dict[str, list[str]]:
    """The pairs of a verdict in words: in order, in reverse, open."""
    parts: dict[str, list[str]] = {"In order": [], "In reverse": [], "Open": []}
    for pair in found.pairs:
        key = "In order" if pair.holds else "In reverse" if pair.reversed else "Open"
        parts[key].append(pair_text((pair.first, pair.second), arms))
    return parts
