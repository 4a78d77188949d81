"""One of the parts into which machines that share no disk divide a study: whole seeds of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from normlab.errors import UserError

_TEXT = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """Every `of`-th seed of a study, from the `number`-th on.

    Never a part of a seed's arms: arms are compared seed by seed, and so on one machine.

    Attributes:
        number: Which part, from 1 on.
        of: How many parts there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that a text such as ``"2/3"`` names.

        Raises:
            UserError: It names none.
        """
        found = _TEXT.fullmatch(str(text))
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise UserError(
                f"shard is {text!r}: K/N is allowed, such as 2/3 for the second of three parts"
            )
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def seeds(self, seeds: Sequence[int]) -> frozenset[int]:
        """Its seeds of a study's.

        Raises:
            UserError: There are fewer seeds than parts.
        """
        if len(seeds) < self.of:
            raise UserError(
                f"shard is {self}: the arms of a seed stay together, and the study has "
                f"{len(seeds)} of them: at most {len(seeds)} parts are allowed"
            )
        return frozenset(seeds[self.number - 1 :: self.of])
