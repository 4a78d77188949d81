"""A factor that is a range: levels spread evenly over it by a fixed sequence of points.

The points are those of the Halton sequence (Halton 1960), unscrambled and without its first point,
which is a corner: the same for everyone, always. A range is one coordinate of them, and as many as
its `length` where a level is a list. Several ranges of a study are coordinates of the same points:
they vary together, as in a random search, and every point meets every level of the other factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from normlab.arms import is_number
from normlab.errors import UserError
from normlab.recipe.component import Spec, explain, listed

MOST_POINTS = 10_000
MOST_COORDINATES = 10
"""Of a point: in more dimensions the first points of the sequence lie close to a few lines."""
_LARGEST = 1e15  # above it, whole numbers are no longer exact
_NARROW = 1e-9  # part of the larger end: room for 10,000 points
_BATCH = 1024  # points drawn at once
_DIGITS = 3  # of a value, where no two need more to differ

Point = dict[str, object]
"""A level of every range."""


def _two_numbers(value: object) -> object:
    ends = listed(value)
    if not isinstance(ends, tuple) or len(ends) != 2 or not all(map(is_number, ends)):
        raise ValueError("two numbers are needed, [least, greatest], for example [0.1, 0.8]")
    low, high = ends
    if not (abs(low) <= _LARGEST and abs(high) <= _LARGEST):
        raise ValueError(f"its ends must lie between -{_LARGEST:g} and {_LARGEST:g}")
    if low > high:
        raise ValueError(f"the least comes first: write [{high}, {low}]")
    if high - low <= _NARROW * max(abs(low), abs(high), _NARROW):
        raise ValueError(f"its ends are equal: write the one level as a list, [{low}]")
    return ends


class Range(Spec):
    """Levels of a factor drawn from a range instead of written out.

    Two whole numbers are a range of whole numbers, with both ends in it.
    """

    title: ClassVar[str] = "a range"
    range: Annotated[tuple[int | float, int | float], BeforeValidator(_two_numbers)]
    """The least and the greatest value."""
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)]
    """Levels drawn; of several ranges in a study, combinations of their levels."""
    log: bool = False
    """Spread evenly over the logarithm, as is usual for learning rates and penalties."""
    length: Annotated[int, Field(ge=1, le=MOST_COORDINATES)] | None = None
    """A level is a list of so many values of the range, one for each dropout slot, say."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: object) -> object:
        if isinstance(value, Mapping) and value.keys() <= cls.model_fields.keys():
            if "range" not in value:
                raise ValueError(
                    "range is missing, the least and the greatest value, for example "
                    "range: [0.1, 0.8]; levels of your own are written as a list"
                )
            if "points" not in value:
                raise ValueError(
                    "points is missing, how many levels to draw, for example points: 8"
                )
        return value

    @model_validator(mode="after")
    def _has_logarithms(self) -> Self:
        if self.log and self.range[0] <= 0:
            raise ValueError(
                f"log needs a range above 0, and it begins at {self.range[0]}: begin at a small "
                "number such as 1e-5, or leave log out"
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return all(isinstance(end, int) for end in self.range)

    @property
    def coordinates(self) -> int:
        """Of a point, those that make a level."""
        return self.length or 1

    @property
    def count(self) -> float:
        """Different levels that it can give."""
        low, high = self.range
        return (high - low + 1) ** self.coordinates if self.whole else math.inf

    def at(self, share: float) -> float:
        """The value that so large a share of the range lies below."""
        low, high = self.range
        if self.whole:  # every whole number has an equal part of the range, on its scale
            low, high = (low - 0.5, high + 0.5) if self.log else (low, high + 1)
        if self.log:
            found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            found = low + share * (high - low)
        if not self.whole:
            return found
        nearest = round(found) if self.log else math.floor(found)
        return min(max(nearest, self.range[0]), self.range[1])


def read_factor(value: object) -> list[object] | Range:
    """A validator of a factor that reads a mapping as a `Range`, and takes a list as it is.

    Raises:
        ValueError: Neither of them, an empty list, or a mistake in the range.
    """
    if isinstance(value, Mapping):
        try:
            return Range.model_validate(value)
        except ValidationError as error:
            raise ValueError("; ".join(explain(error).splitlines())) from None
    if not isinstance(value, Range | list):
        raise ValueError(  # noqa: TRY004 (pydantic's word for a value that it refuses)
            "a list of levels is needed, or a range, for example {range: [0.1, 0.8], points: 8}"
        )
    if value == []:
        raise ValueError("at least one level is needed")
    return value


def points_of(ranges: Mapping[str, Range]) -> list[Point]:
    """The points of a study's ranges, in ascending order; empty if there are no ranges.

    Args:
        ranges: By factor, in the study's order, which is that of a point's coordinates.

    Raises:
        UserError: They ask for different numbers of points, for more coordinates than a point can
            have, or for more points than there are.
    """
    numbers = {key: of.points for key, of in ranges.items()}
    if len(set(numbers.values())) > 1:
        texts = ", ".join(f"{key} has {number}" for key, number in numbers.items())
        raise UserError(
            f"ranges vary together and need one number of points, and {texts}; to cross them, "
            "write one as a list of levels"
        )
    coordinates = sum(of.coordinates for of in ranges.values())
    if coordinates > MOST_COORDINATES:
        raise UserError(
            f"{', '.join(ranges)}: ranges and their lists have {coordinates} values together: at "
            f"most {MOST_COORDINATES} are allowed; write one as a list of levels"
        )
    most = math.prod(of.count for of in ranges.values())
    if any(number > most for number in numbers.values()):
        key, number = next(iter(numbers.items()))
        raise UserError(
            f"{key}: points is {number}: the range has only {most:,} levels: ask for fewer, or "
            "write them as a list"
        )
    return [dict(point) for point in _drawn(tuple(ranges.items()))] if ranges else []


@lru_cache(maxsize=64)
def _drawn(ranges: tuple[tuple[str, Range], ...]) -> tuple[Point, ...]:
    axes = [of for _, of in ranges for _ in range(of.coordinates)]
    every = (tuple(map(Range.at, axes, shares)) for shares in _shares(len(axes)))
    found = list(islice(_different(every), ranges[0][1].points))
    columns = [
        _rounded(of, values) for of, values in zip(axes, zip(*found, strict=True), strict=True)
    ]
    return tuple(_point(ranges, values) for values in sorted(zip(*columns, strict=True)))


def _shares(coordinates: int) -> Iterator[tuple[float, ...]]:
    """Points of the unit cube without end."""
    from scipy.stats import qmc  # scipy.stats takes half a second to import

    sequence = qmc.Halton(coordinates, scramble=False)
    sequence.fast_forward(1)
    while True:
        yield from map(tuple, sequence.random(_BATCH).tolist())


def _different(every: Iterable[tuple[float, ...]]) -> Iterator[tuple[float, ...]]:
    """Each once: of whole numbers, two points can be the same."""
    seen = set()
    for values in every:
        if values not in seen:
            seen.add(values)
            yield values


def _rounded(of: Range, values: Sequence[float]) -> Sequence[float]:
    """The values in as few digits as tell them apart, of their size or that of the range."""
    if of.whole:
        return values
    low, high = of.range
    digits = _DIGITS
    while True:
        places = [
            digits - 1 - math.floor(math.log10(value))
            if of.log
            # Of a range of 1 the values have as many places as of one of 0.9.
            else digits - math.ceil(math.log10(high - low))
            for value in values
        ]
        short = map(round, values, places)
        found = [min(max(value, low), high) for value in short]
        if len(set(found)) == len(set(values)):
            return found
        digits += 1


def _point(ranges: tuple[tuple[str, Range], ...], values: Sequence[float]) -> Point:
    rest = iter(values)
    return {key: list(islice(rest, of.length)) if of.length else next(rest) for key, of in ranges}
