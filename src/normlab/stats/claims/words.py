"""Verdicts in plain sentences: "BatchNorm beats no norm by 2.1 points (95 % interval ...)"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from normlab.metrics import METRICS, at_text
from normlab.records.plan import ClaimRecord
from normlab.stats.claims.verdict import Verdict
from normlab.wording import quantity, short


@dataclass(frozen=True)
class Telling:
    """What a sentence about a verdict is made of.

    Attributes:
        record: The claim.
        found: The verdict.
        sides: The claim's sides in words.
        names: Every arm in words, by its index.
        place: What all sides share, as " at batch size 64"; may be empty.
        measured: The limits with the sign that was measured.
        halves: Of four sides: the first two and the last two, each with what they share.
        more: What would settle it: "6 more seeds, about 2 hours"; empty where that is not known.
        scale: What numbers are shown times.
        unit: What stands after them; empty for a loss.
        margin: The margin with its unit.
    """

    record: ClaimRecord
    found: Verdict
    sides: tuple[str, ...]
    names: tuple[str, ...]
    place: str
    measured: tuple[float, float]
    halves: tuple[tuple[tuple[str, ...], str], ...]
    more: str
    scale: float
    unit: str
    margin: str

    def verb(self, *, plain: bool = False) -> str:
        """Third person, or `plain`: beats, has a lower test loss than, trains faster than."""
        metric = self.record.metric
        if metric is None or METRICS[metric].unit == "s":
            return f"train{'' if plain else 's'} faster than"
        if metric == "test_accuracy":
            return "beat" if plain else "beats"
        spec = METRICS[metric]
        article = "have" if plain else "has"
        return f"{article} a {'higher' if spec.higher else 'lower'} {spec.words} than"

    def amount(self) -> str:
        """The difference without its sign, with its unit."""
        text = short(self.scale * abs(self.found.estimate))
        return quantity(text, self.unit) if self.unit else text

    def evidence(self, *, turned: bool = False, measured: bool = False) -> str:
        """Interval and seeds in brackets.

        Args:
            turned: Against the claim's direction instead of in it.
            measured: With the metric's own sign, for sentences that name no direction.
        """
        found = self.found
        low, high = (-found.high, -found.low) if turned else (found.low, found.high)
        low, high = self.measured if measured else (low, high)
        few, most = min(found.seeds), max(found.seeds)
        seeds = f"{few} seeds" if few == most else f"{few} to {most} seeds"
        seeds += f"; {self.what}" if self.what else ""
        if not np.isfinite((low, high)).all():
            return f"({seeds})"
        limits = f"{short(self.scale * low)} to {short(self.scale * high)}"
        return f"({100 * found.confidence:.3g} % interval {limits}; {seeds})"

    @property
    def what(self) -> str:
        """Where it is not the test accuracy of the last epoch: what is judged."""
        metric, at = self.record.metric, self.record.at
        if metric is None:
            return ""
        words = METRICS[metric].words
        parts = [words] if metric != "test_accuracy" and not self._verb_says_it else []
        parts += [] if at == "last" or not METRICS[metric].per_epoch else [at_text(at)]
        return ", ".join(parts)

    @property
    def _verb_says_it(self) -> bool:
        return self.record.kind not in {"equal", "ranking", "interaction"}

    @property
    def when(self) -> str:
        """`what` in brackets, for sentences without numbers."""
        return f" ({self.what})" if self.what else ""

    @property
    def open(self) -> str:
        """How an open sentence ends."""
        return f" is open{': ' + self.more if self.more else ''}."


def ahead(telling: Telling) -> str:
    """The first side beats the second."""
    first, second = telling.sides[:2]
    return (
        f"{first} {telling.verb()} {second}{telling.place} by {telling.amount()} "
        f"{telling.evidence()}."
    )


def beats(telling: Telling) -> str:
    """The second side beats the first: what refutes a claim by the reverse."""
    first, second = telling.sides[:2]
    return (
        f"{second} {telling.verb()} {first}{telling.place} by {telling.amount()} "
        f"{telling.evidence(turned=True)}."
    )


def whether(telling: Telling) -> str:
    """Nothing is shown of the first and the second side."""
    first, second = telling.sides[:2]
    return f"Whether {first} {telling.verb()} {second}{telling.place}{telling.when}{telling.open}"
