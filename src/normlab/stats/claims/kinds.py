"""What can be claimed: a frozen dataclass per kind, over arm indices.

A side is the index of an arm, or a tuple of them whose means are averaged (`norm: batch` at every
batch size). Every kind but `Faster` is one or several contrasts of arm means. Margins are in the
unit of the scores (0.003 for 0.3 points of an accuracy), those of `Faster` see there. Scores
are taken as higher is better: negate a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from normlab.errors import UserError, unknown
from normlab.stats.intervals import Values

Side = int | tuple[int, ...]
Test = Literal["t", "permutation"]


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


class _Claim:
    """What all kinds share: checks."""

    kind: ClassVar[str]
    margin: float
    test: Test

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise UserError(f"{self.kind}: margin {self.margin} must be above 0")
        if self.test not in {"t", "permutation"}:
            raise UserError(f"{self.kind}: {unknown('test', self.test, ('t', 'permutation'))}")
        sides = [members(side) for side in self.sides]
        if any(not side for side in sides):
            raise UserError(f"{self.kind}: a side has no arm")
        if len(set(sides)) < len(sides):
            raise UserError(f"{self.kind}: two sides are the same arms")
        if len(sides) < 2:
            raise UserError(f"{self.kind}: needs two sides or more, has {len(sides)}")

    @property
    def sides(self) -> tuple[Side, ...]:
        """All sides, in the order of the claim."""
        raise NotImplementedError

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """Of a claim that several pairs must fulfil: each, in the order of the contrasts."""
        return ()

    @property
    def candidates(self) -> tuple[Side, ...]:
        """Sides that could be the best one before anything is known; of other claims none."""
        return ()

    @property
    def arms(self) -> tuple[int, ...]:
        """The arms that the claim speaks of."""
        return tuple(sorted({arm for side in self.sides for arm in members(side)}))


@dataclass(frozen=True)
class _Pair(_Claim):
    first: Side
    second: Side
    margin: float
    test: Test = "t"

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both."""
        return self.first, self.second

    def contrasts(self, arms: int) -> Values:
        """(1, arms): first - second."""
        return differences(self.first, (self.second,), arms)


@dataclass(frozen=True)
class Better(_Pair):
    """`first` has a higher mean than `second`."""

    kind: ClassVar[str] = "better"


@dataclass(frozen=True)
class Equal(_Pair):
    """The means of `first` and `second` differ by less than the margin."""

    kind: ClassVar[str] = "equal"


@dataclass(frozen=True)
class Best(_Claim):
    """`side` has a higher mean than each of `others`."""

    kind: ClassVar[str] = "best"
    side: Side
    others: tuple[Side, ...]
    margin: float
    test: Test = "t"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The best one first."""
        return self.side, *self.others

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """The best one with each of the others."""
        return tuple((self.side, other) for other in self.others)

    @property
    def candidates(self) -> tuple[Side, ...]:
        """All."""
        return self.sides

    def contrasts(self, arms: int) -> Values:
        """(others, arms): side - other."""
        return differences(self.side, self.others, arms)


@dataclass(frozen=True)
class Ranking(_Claim):
    """Each side has a higher mean than the next."""

    kind: ClassVar[str] = "ranking"
    order: tuple[Side, ...]
    margin: float
    test: Test = "t"

    @property
    def sides(self) -> tuple[Side, ...]:
        """From the best to the worst."""
        return self.order

    @property
    def pairs(self) -> tuple[tuple[Side, Side], ...]:
        """Each side with the next."""
        return tuple(zip(self.order, self.order[1:], strict=False))

    def contrasts(self, arms: int) -> Values:
        """(sides - 1, arms): each minus the next."""
        return np.vstack([differences(first, (second,), arms) for first, second in self.pairs])


@dataclass(frozen=True)
class Trend(_Claim):
    """The mean rises along an ordered factor; to claim a fall, give the levels' negatives.

    Attributes:
        order: A side per level.
        levels: The factor's values; their order (1, 2, ...) if not given.
        margin: Of the whole rise, from the least level to the greatest.
        contrast: `linear`: slope times range; `ends`: the greatest level minus the least; `hump`:
            the levels in between minus the two ends, for claims of an optimum there.
        test: Welch's or paired t; a permutation test only of pairs.
    """

    kind: ClassVar[str] = "trend"
    order: tuple[Side, ...]
    margin: float
    levels: tuple[float, ...] = ()
    contrast: Literal["linear", "ends", "hump"] = "linear"
    test: Test = "t"

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


@dataclass(frozen=True)
class Interaction(_Claim):
    """What `first` gains over `second` exceeds what `third` gains over `fourth`."""

    kind: ClassVar[str] = "interaction"
    first: Side
    second: Side
    third: Side
    fourth: Side
    margin: float
    test: Test = "t"

    @property
    def sides(self) -> tuple[Side, ...]:
        """All four."""
        return self.first, self.second, self.third, self.fourth

    def contrasts(self, arms: int) -> Values:
        """(1, arms): (first - second) - (third - fourth)."""
        gained = differences(self.first, (self.second,), arms)
        return gained - differences(self.third, (self.fourth,), arms)


@dataclass(frozen=True)
class Faster(_Claim):
    """Arm `first` needs less time to the target than arm `second`, in restricted means.

    Attributes:
        first: One arm.
        second: One arm.
        margin: A fraction of the second arm's restricted mean.
        test: Always the studentized permutation test.
    """

    kind: ClassVar[str] = "faster"
    first: int
    second: int
    margin: float = 0.05
    test: Test = "permutation"

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both."""
        return self.first, self.second


MeanClaim = Better | Equal | Best | Ranking | Trend | Interaction
Claim = MeanClaim | Faster

KINDS: dict[str, type[Claim]] = {
    "better": Better,
    "best": Best,
    "equal": Equal,
    "ranking": Ranking,
    "trend": Trend,
    "interaction": Interaction,
    "faster": Faster,
}


def members(side: Side) -> tuple[int, ...]:
    """The arms of a side."""
    return (side,) if isinstance(side, int) else tuple(sorted(set(side)))


def indicator(side: Side, arms: int) -> Values:
    """Weights (arms,) of the mean over a side."""
    return np.bincount(members(side), minlength=arms) / len(members(side))


def differences(side: Side, others: tuple[Side, ...], arms: int) -> Values:
    """Weights (others, arms) of a side's mean minus each other side's."""
    return indicator(side, arms) - np.vstack([indicator(other, arms) for other in others])
