"""The output about what was written for another tool."""

from __future__ import annotations

from normlab.cli.outputs.output import Output
from normlab.cli.outputs.studies import LostFile


class StudyExported(Output):
    """What came of exporting a study: the exit code is 1 where weights are lost.

    Attributes:
        to: The tool.
        dest: Where it was written to.
        name: The study's name.
        arms: How many arms are there now.
        added: How many trials were added.
        known: How many were there already, with the same numbers.
        left: How many planned trials are not finished and so left out, by state.
        lost: Files of weights that are gone or damaged and so left out.
        shortened: What the tool has no room for, a sentence each, without its full stop.
        opens: The command that shows or sends what was written; empty where there is none.
    """

    to: str
    dest: str
    name: str
    arms: int
    added: int
    known: int
    left: dict[str, int]
    lost: list[LostFile]
    shortened: list[str]
    opens: str
