"""`trend`: the score rises (or falls) along a factor's levels.

a contrast of the levels' means: the fitted slope times the range (`linear`), the greatest level
minus the least (`ends`), or the levels between minus the two ends (`hump`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from normlab.arms import Arms, is_number
from normlab.errors import UserError, unknown
from normlab.metrics import METRICS
from normlab.records.plan import AnalysisRecord, ClaimRecord
from normlab.stats.claims.claim import MeanClaim
from normlab.stats.claims.keys import ClaimKeys, Sides, Test
from normlab.stats.claims.sides import Side, indicator
from normlab.stats.claims.verdict import Verdict
from normlab.stats.claims.words import Telling
from normlab.stats.intervals import Values

Contrast = Literal["linear", "ends", "hump"]


def linear(levels: Values) -> Values:
    """Weights of the fitted slope times the range of the levels: the rise along them."""
    off = levels - levels.mean()
    rise: Values = off / np.square(off).sum() * np.ptp(levels)
    return rise


def ends(levels: Values) -> Values:
    """Weights of the greatest level minus the least."""
    place = np.arange(len(levels))
    weights: Values = (place == levels.argmax()).astype(float) - (place == levels.argmin())
    return weights


def hump(levels: Values) -> Values:
    """Weights of the mean of the levels in between minus the mean of the two ends."""
    outer = np.abs(ends(levels))
    return (1 - outer) / (len(levels) - 2) - outer / 2


CONTRASTS = {"linear": linear, "ends": ends, "hump": hump}


@dataclass(frozen=True)
class Trend(MeanClaim):
    """The mean rises along an ordered factor; to claim a fall, give the levels' negatives.

    Attributes:
        order: A side per level.
        levels: The factor's values; their order (1, 2, ...) if not given.
        margin: Of the whole rise, from the least level to the greatest.
        contrast: `linear`: slope times range; `ends`: the greatest level minus the least; `hump`:
            the levels in between minus the two ends, for claims of an optimum there.
        test: Welch's or paired t; a permutation test only of pairs.
    """

    kind = "trend"
    order: tuple[Side, ...]
    margin: float
    levels: tuple[float, ...] = ()
    contrast: Contrast = "linear"
    test: Test = "t"

    class Keys(ClaimKeys):
        """The metric rises (or falls) along a factor's levels."""

        title: ClassVar[str] = "claim 'trend'"
        fractions: ClassVar[bool] = False
        kind: Literal["trend"]
        factor: str
        direction: Literal["rises", "falls"] = "rises"
        contrast: Contrast = "linear"
        """The fitted slope times the range; the greatest level minus the least; the mean of the
        levels between minus the mean of the two ends."""

        @model_validator(mode="after")
        def _a_hump_has_no_direction(self) -> Self:
            if self.contrast == "hump" and self.direction == "falls":
                raise ValueError(
                    "a hump does not fall: leave direction out, or take another contrast"
                )
            return self

        def sides(self, arms: Arms) -> Sides:
            """A side per level; where levels are no numbers, a fall is their reverse order."""
            levels = arms.levels_of(self.factor, {})
            if len(levels) < 2:
                raise UserError(
                    f"a trend needs two levels of {self.factor}, the arms have {len(levels)}"
                )
            found = [arms.pick({self.factor: level}) for level in levels]
            falls = self.direction == "falls"
            numbers = [v for v in levels if isinstance(v, int | float) and is_number(v)]
            if len(numbers) < len(levels):
                return Sides(found[::-1] if falls else found)
            return Sides(found, [-v if falls else v for v in numbers])

        def own_keys(self, analysis: AnalysisRecord) -> dict[str, object]:
            """The contrast; the direction is in the levels' signs too."""
            return {"contrast": self.contrast, "direction": self.direction}

        def words(self) -> str:
            """Which factor does what."""
            return f"{self.factor} {'has a hump' if self.contrast == 'hump' else self.direction}"

    @classmethod
    def of(cls, record: ClaimRecord, sides: Sequence[Side]) -> Self:
        """A side per level; a metric that rises is a score that falls where less is better."""
        contrast: Contrast = record.options["contrast"]  # type: ignore[assignment]
        levels = tuple(map(float, record.levels))
        if not _higher(record) and contrast != "hump":
            sides, levels = (sides, tuple(-v for v in levels)) if levels else (sides[::-1], ())
        return cls(tuple(sides), record.margin, levels, contrast, record.test)

    @classmethod
    def as_measured(cls, found: Verdict, record: ClaimRecord) -> tuple[float, float, float]:
        """The rise of the metric along the levels: of a claim that it falls, turned round."""
        hump = record.options.get("contrast") == "hump"
        if _higher(record) if hump else not _falls(record):
            return found.estimate, found.low, found.high
        return -found.estimate, -found.high, -found.low

    def __post_init__(self) -> None:
        """Check the levels and the contrast's name too."""
        super().__post_init__()
        if self.contrast not in CONTRASTS:
            raise UserError(f"trend: {unknown('contrast', self.contrast, CONTRASTS)}")
        if self.levels and len(set(self.levels)) != len(self.order):
            raise UserError(
                f"trend: levels {list(self.levels)} must be {len(self.order)} distinct numbers"
            )
        if self.contrast == "hump" and len(self.order) < 3:
            raise UserError("trend: contrast hump needs three levels or more")

    @property
    def sides(self) -> tuple[Side, ...]:
        """A side per level."""
        return self.order

    def contrasts(self, arms: int) -> Values:
        """(1, arms)."""
        levels = np.array(self.levels or range(len(self.order)), dtype=float)
        means = np.vstack([indicator(side, arms) for side in self.order])
        return CONTRASTS[self.contrast](levels)[None] @ means

    @classmethod
    def sentence(cls, telling: Telling) -> str:
        """What happens along the factor."""
        record, where = telling.record, telling.place
        words = "test accuracy" if record.metric is None else METRICS[record.metric].words
        falls, hump = _falls(record), record.options.get("contrast") == "hump"
        first, last = _ends(record, telling.sides)
        if hump:
            better, worse = ("higher", "lower") if _higher(record) else ("lower", "higher")
            claimed, reverse = (
                f"is {way} between {first} and {last} than at them" for way in (better, worse)
            )
        else:
            ways = ("falls", "rises") if falls else ("rises", "falls")
            claimed, reverse = (f"{way} from {first} to {last}" for way in ways)
        if telling.found.verdict == "supported":
            return f"The {words} {claimed}{where} by {telling.amount()} {telling.evidence()}."
        if telling.found.verdict == "refuted":
            if telling.found.high < 0:
                evidence = telling.evidence(turned=True)
                return f"The {words} {reverse}{where} by {telling.amount()} {evidence}."
            return (
                f"It does not hold{where} that the {words} {claimed} by {telling.margin} or more "
                f"{telling.evidence(measured=True)}."
            )
        return f"Whether the {words} {claimed}{where}{telling.when}{telling.open}"


def _higher(record: ClaimRecord) -> bool:
    return record.metric is None or METRICS[record.metric].higher


def _falls(record: ClaimRecord) -> bool:
    """Whether the claim says that the metric falls; plans before 0.2 tell it by signs alone."""
    levels = record.levels
    stored = "falls" if levels and levels[0] > levels[-1] else "rises"
    return record.options.get("direction", stored) == "falls"


def _ends(record: ClaimRecord, sides: Sequence[str]) -> tuple[str, str]:
    """The sides at the least and the greatest level, or the first and last that the file has."""
    if not record.levels:
        return (sides[-1], sides[0]) if _falls(record) else (sides[0], sides[-1])
    levels = [-level if _falls(record) else level for level in record.levels]
    return sides[levels.index(min(levels))], sides[levels.index(max(levels))]
