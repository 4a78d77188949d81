"""Options of the commands that read another tool's runs, and what they say of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from normlab.trackers.mapping import LeftOutRuns

Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OURS=THEIRS",
        help="With --from: what the source calls a factor, seed, arm, epoch or metric; repeatable.",
    ),
]
RunNames = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="PATTERN",
        help='With --from: the pattern of run names, such as "{norm}-s{seed}".',
    ),
]
Group = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --from: only runs of this experiment or project."),
]
_MOST_REASONS = 6


def print_left_out(left_out: Sequence[LeftOutRuns | Mapping[str, Any]]) -> None:
    """Runs that do not count: a line for each reason."""
    from normlab.terminal import print_lines
    from normlab.wording import counted

    lines = []
    for found in left_out:
        more = ", ..." if found["runs"] > len(found["examples"]) else ""
        names = ", ".join(found["examples"])
        lines.append(
            f"left out: {counted(found['runs'], 'run')}: {found['reason']} ({names}{more})"
        )
    print_lines(lines, "reason", most=_MOST_REASONS)


def print_notes(notes: Sequence[str]) -> None:
    """What to know of the trials, a line each."""
    from normlab.terminal import print_lines

    print_lines([f"note: {note}" for note in notes], "note")
