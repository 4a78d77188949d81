"""Where a step or a trial goes, as rows. Plain numbers, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a step or of a trial.

    Attributes:
        name: What it is.
        within: The part that it is a part of; empty for those that make up the whole.
        seconds: It takes in one step, or in the whole trial.
        calls: How often it runs in that.
        floor: Seconds that this machine needs at least for its operations or its bytes; None where
            nothing is known of them.
        flops: Floating point operations that it needs.
        moved: Bytes that it has to read and write.
    """

    name: str
    within: str = ""
    seconds: float
    calls: int = 1
    floor: float | None = None
    flops: int | None = None
    moved: int | None = None

    @property
    def times_the_floor(self) -> float | None:
        """How much longer it takes than it must."""
        return self.seconds / self.floor if self.floor else None


def whole(parts: Sequence[Part]) -> float:
    """Seconds of parts together, each counted once."""
    return sum(part.seconds for part in parts if not part.within)


def shares(parts: Sequence[Part]) -> list[float]:
    """What each part is of the whole, as a fraction of 1."""
    total = whole(parts)
    return [part.seconds / total if total else 0.0 for part in parts]


def part_rows(parts: Sequence[Part]) -> list[dict[str, object]]:
    """A row per part: its attributes, its `share` of the whole, and `times_the_floor`."""
    return [
        {**asdict(part), "share": share, "times_the_floor": part.times_the_floor}
        for part, share in zip(parts, shares(parts), strict=True)
    ]
