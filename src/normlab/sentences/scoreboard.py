"""The scoreboard: every sentence of the sources, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, get_args

from normlab.errors import UserError, unknown
from normlab.sentences.bundle import Bundle
from normlab.sentences.files import SOURCES, sentences, setups
from normlab.sentences.rows import WORDS, Row, row_of
from normlab.sentences.sentence import Why
from normlab.sentences.setups import StudyScale, scale_of
from normlab.study.files import bundled
from normlab.wording import counted

if TYPE_CHECKING:
    import pandas as pd

NO_VERDICT = "none"
"""What asks for the sentences that claims ask and nothing judges yet."""


@dataclass(frozen=True, repr=False)
class Scoreboard:
    """Every sentence of the sources, and what became of it.

    Attributes:
        rows: One for each sentence; see `normlab.sentences.Row`.
        studies: What was released of each bundled study, and how that differs from its source.
    """

    rows: tuple[Row, ...]
    studies: tuple[StudyScale, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are, are asked, have which verdict, are shown, are not asked.

        `asked` is the sum of `supported`, `refuted`, `inconclusive`, `rehearsed` (nothing but a
        quick variant was released) and `not run`. `exploratory` are those of the supported and the
        refuted whose claim was stated after its trials had been seen.
        """
        states = Counter(row.state for row in self.rows)
        open_rows = [row for row in self.rows if row.state == "asked" and row.verdict is None]
        verdicts = Counter(row.verdict for row in self.rows)
        return {
            "rows": len(self.rows),
            "asked": states["asked"],
            **{word: verdicts[word] for word in ("supported", "refuted", "inconclusive")},
            "exploratory": sum(row.exploratory for row in self.rows),
            "rehearsed": sum(row.scale == "rehearsal" for row in open_rows),
            "not run": sum(row.scale is None for row in open_rows),
            "shown": states["shown"],
            "not asked": states["not asked"],
        }

    @property
    def why(self) -> dict[str, int]:
        """How many rows are not asked, by why."""
        counts = Counter(row.why for row in self.rows)
        return {why: counts[why] for why in get_args(Why) if counts[why]}

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a data frame: a column for each of `normlab.sentences.Row`'s attributes."""
        import pandas as pd

        names = [field.name for field in fields(Row)]
        return pd.DataFrame([asdict(row) for row in self.rows], columns=names)

    def only(self, source: str | None = None, verdict: str | None = None) -> Scoreboard:
        """The rows of one source, or with one verdict (`none`: asked, and nothing judged yet).

        Raises:
            UserError: There is no such source or verdict.
        """
        letters = {letter.lower(): letter for letter in SOURCES}
        if source is not None and source.lower() not in letters:
            raise UserError(unknown("source", source, SOURCES))
        if verdict is not None and verdict not in {*WORDS, NO_VERDICT}:
            raise UserError(unknown("verdict", verdict, [*WORDS, NO_VERDICT]))
        rows = [
            row
            for row in self.rows
            if (source is None or row.source == letters[source.lower()])
            and (
                verdict is None or (row.state == "asked" and (row.verdict or NO_VERDICT) == verdict)
            )
        ]
        return replace(self, rows=tuple(rows))

    def record(self) -> dict[str, object]:
        """As plain data: `counts`, `why`, `studies` and `rows`."""
        return {
            "counts": self.counts,
            "why": self.why,
            "studies": [asdict(study) for study in self.studies],
            "rows": [asdict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        counts, why = self.counts, self.why
        reasons = ", ".join(f"{count} {word}" for word, count in why.items())
        lines = [
            f"{counted(counts['rows'], 'sentence')}, figures, tables and settings of the sources: "
            f"{counts['asked']} asked by claims, {counts['shown']} shown without a claim, "
            f"{counts['not asked']} not asked",
            f"asked: {counts['supported']} supported, {counts['refuted']} refuted "
            f"({counts['exploratory']} of these exploratory), "
            f"{counts['inconclusive']} inconclusive; {counts['rehearsed']} rehearsed only, "
            f"{counts['not run']} not run yet",
        ]
        return "\n".join([*lines, f"not asked: {reasons}"] if reasons else lines)

    def __repr__(self) -> str:
        return f"<Scoreboard: {counted(len(self.rows), 'row')}>"


def scoreboard() -> Scoreboard:
    """Every sentence of the sources with the verdicts of the released trials.

    Raises:
        UserError: A file of sentences names a study, a claim or a part of a study that is not
            there.
    """
    bundle, ran = Bundle(), setups()

    @cache
    def scale(study: str) -> StudyScale:
        return scale_of(study, ran.get(study), bundle)

    rows = tuple(row_of(source, sentence, bundle, scale) for source, sentence in sentences())
    studies = tuple(scale(name) for name in bundled() if name in ran)
    return Scoreboard(rows, studies)
