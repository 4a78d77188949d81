"""The scoreboard as tables of Markdown, for `docs/findings/scoreboard.md`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from normlab.reports.typeset import Table
from normlab.sentences.rows import Asked, Row, decided
from normlab.sentences.scoreboard import Scoreboard

NONE = "–"


def counts_table(board: Scoreboard) -> str:
    """How many sentences were asked, and what came out."""
    counts = board.counts
    rows = [
        ("All", counts["rows"]),
        ("Asked by claims", counts["asked"]),
        ("– supported", counts["supported"]),
        ("– refuted", counts["refuted"]),
        ("– inconclusive", counts["inconclusive"]),
        ("– rehearsed only", counts["rehearsed"]),
        ("– not run yet", counts["not run"]),
        ("Shown without a claim", counts["shown"]),
        ("Not asked", counts["not asked"]),
        *((f"– {why}", count) for why, count in board.why.items()),
    ]
    return Table(
        [("Sentences", "l"), ("How many", "r")], [(text, str(count)) for text, count in rows]
    ).markdown()


def studies_table(board: Scoreboard) -> str:
    """What was released of each study, and what of it is not the source's."""
    rows = [
        (
            study.study,
            study.scale or NONE,
            NONE if study.seeds is None else str(study.seeds),
            "; ".join((*study.differs, *study.changed)) or NONE,
        )
        for study in board.studies
    ]
    return Table(
        [("Study", "l"), ("Scale", "l"), ("Seeds", "r"), ("Not as the source had it", "l")], rows
    ).markdown()


def source_table(board: Scoreboard, source: str) -> str:
    """The sentences of one source; a line for each study that asks a sentence."""
    return Table(
        [
            ("Row", "r"),
            ("The source has", "l"),
            ("Asked or shown by, or why not", "l"),
            ("Verdict", "l"),
            ("Seeds", "r"),
            ("Scale", "l"),
        ],
        [line for row in board.only(source).rows for line in _lines(row)],
    ).markdown()


def _lines(row: Row) -> Iterator[Sequence[str]]:
    text = f"“{row.sentence}”" if row.quoted else row.sentence
    begin = [str(row.number), f"{text} — Note: {row.note}" if row.note else text]
    if not row.asked:
        shown = "; ".join(row.shown)
        by = shown if row.state == "shown" else f"Not asked, {row.why}: {row.reason}"
        by = f"{by}. Shown by {shown}" if shown and row.state != "shown" else by
        yield [*begin, by, row.state, _seeds(row.seeds), row.scale or NONE]
        return
    for (study, decides), group in groupby(row.asked, key=lambda each: (each.study, each.decides)):
        # A claim that decides nothing stands alone: it need not hold together with others.
        for claims in [list(group)] if decides else [[each] for each in group]:
            deciding = decided(claims)
            names = "; ".join(each.claim for each in claims)
            by = f"{study}: {names}" if decides else f"beside it, {study}: {names}"
            yield [*begin, by, _verdict(deciding), _seeds(deciding.seeds), deciding.scale or NONE]
            begin = ["", ""]
    if row.shown:
        yield [*begin, f"shown by {'; '.join(row.shown)}", "", "", ""]


def _verdict(asked: Asked) -> str:
    if asked.verdict is None:
        return "rehearsed only" if asked.scale == "rehearsal" else "not run yet"
    return f"{asked.verdict} (exploratory)" if asked.exploratory else asked.verdict


def _seeds(seeds: int | None) -> str:
    return NONE if seeds is None else str(seeds)
