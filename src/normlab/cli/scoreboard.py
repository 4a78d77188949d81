"""The command about the sources as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from normlab.cli.options import Json

if TYPE_CHECKING:
    from normlab.sentences import Row

_LONGEST = 72  # characters of a sentence in the table


def scoreboard(
    source: Annotated[
        str | None,
        typer.Option(metavar="A|B|C|D|all", help="Only the sentences of this source."),
    ] = None,
    verdict: Annotated[
        str | None,
        typer.Option(
            metavar="supported|refuted|inconclusive|none",
            help="Only those asked with this verdict; none: not judged yet.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show every sentence of the sources: which study asks it, and with what verdict."""
    from normlab import api
    from normlab.terminal import console, table

    board = api.scoreboard(source, verdict=verdict)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.scoreboard import SentencesAnswered

        print_output(SentencesAnswered, **board.record())
        return
    console.print(str(board), soft_wrap=True)
    console.print()
    columns = ["row", "source", "sentence", "asked or shown by", "verdict", "seeds", "scale"]
    rows = [
        (
            row.number,
            row.source,
            _short(row.sentence),
            _by(row),
            row.verdict or (row.state if row.state != "asked" else "not judged"),
            row.seeds,
            row.scale,
        )
        for row in board.rows
    ]
    left = ["source", "sentence", "asked or shown by", "verdict", "scale"]
    console.print(table(columns, rows, left=left))
    for row in board.rows:
        if row.state == "not asked":
            console.print(f"{row.number}: not asked, {row.why}: {row.reason}", soft_wrap=True)


def _by(row: Row) -> str:
    if row.claim is not None:
        return f"{row.study}: {row.claim}"
    return "" if row.state == "not asked" else "; ".join(row.shown)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3].rstrip()}..."
