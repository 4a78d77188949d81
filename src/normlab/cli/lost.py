"""How the lost files of finished trials look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.study.stored import LostFile


def print_lost(name: str, lost: Sequence[LostFile], *, where: str = "--json") -> None:
    """The files of finished trials that are gone or damaged, and what makes them again.

    Args:
        name: The study's.
        lost: The files.
        where: What shows all of them, where they are many.
    """
    from normlab.terminal import console, print_lines

    lines = (f"lost: {f['arm']}, seed {f['seed']}: {f['path']} {f['reason']}" for f in lost)
    print_lines(list(lines), "lost file", where)
    if lost:
        console.print(
            "The results of these trials are stored, their files are not. "
            f"`normlab run {name} --retrain-lost` trains them again.",
            soft_wrap=True,
        )
