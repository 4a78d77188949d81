"""How the lost files of finished trials look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.study.stored import LostFile


def print_lost(name: str, lost: Sequence[LostFile]) -> None:
    """The files of finished trials that are gone or damaged, and what makes them again."""
    from normlab.terminal import console, fewer

    some, more = fewer(lost, "lost files")
    for file in some:
        line = f"lost: {file['arm']}, seed {file['seed']}: {file['path']} {file['reason']}"
        console.print(line, soft_wrap=True)
    if more:
        console.print(more)
    if lost:
        console.print(
            "The results of these trials are stored, their files are not. "
            f"`normlab run {name} --retrain-lost` trains them again.",
            soft_wrap=True,
        )
