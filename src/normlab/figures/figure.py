"""What every kind of figure has: its keys, what it needs, its rows, its drawing.

A kind is one class in one file beside this one. It is drawn in two steps: `rows` is a tidy data
frame, which tests look at; `chart` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, Self, final

from pydantic import ConfigDict, Field

from normlab.arms import Arms, Selectors
from normlab.errors import UserError, unknown
from normlab.figures.keys import Names, Text
from normlab.figures.style import Chart
from normlab.frames.chosen import Chosen, chosen_arms
from normlab.frames.load import Frames
from normlab.lazy import pandas as pd
from normlab.recipe.component import Component
from normlab.records.plan import AnalysisRecord, FigureRecord

_SAID = ("heading", "source", "caption")
"""Keys of every figure that say something and change nothing in it."""


class NotDrawnError(Exception):
    """There is nothing to draw; the message says why."""


@dataclass(frozen=True)
class Drawn:
    """One figure of a report.

    Attributes:
        title: Above it.
        caption: Below it: how it is read, and what it leaves out.
        data: What it shows.
        chart: The drawing.
    """

    title: str
    caption: str
    data: pd.DataFrame
    chart: Chart


class Context(NamedTuple):
    """What a figure of a study file is resolved with."""

    arms: Arms
    analysis: AnalysisRecord
    claims: Sequence[str]
    seeds: Sequence[int]


class Needs(NamedTuple):
    """What its arms must have: each of these splits, and so many epochs."""

    splits: frozenset[str] = frozenset()
    epochs: int = 1


class Source(NamedTuple):
    """What a figure is drawn from.

    Attributes:
        frames: The study.
        folder: Its folder, with the trials' predictions; None where there is none.
    """

    frames: Frames
    folder: Path | None = None


class Figure(Component):
    """What every figure has.

    Attributes:
        name: Its place in the page and its file's name; left out, its kind (and a number).
        heading: Above it; written `title`, a name that is taken here.
        source: What it is in the source, beside the heading: "Figure 8 of source A".
        caption: What the study's author says below it, in front of how to read it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] | None = None
    heading: Text | None = Field(None, alias="title")
    source: Text | None = None
    caption: Text | None = None

    model_config = ConfigDict(populate_by_name=True)

    usual: ClassVar[str]
    """Heading where the data say no better one."""
    is_gallery: ClassVar[bool] = False
    """Whether it shows images: it is exported as PNG too."""
    uses_details: ClassVar[bool] = False
    """Whether it shows diagnostics of epochs: reports of large studies read them for it alone."""

    # -- in a study file -------------------------------------------------------------------

    def resolved(self, context: Context) -> Self:
        """The figure with its arms by label, and what it leaves open as the study has it.

        Raises:
            UserError: It is about arms, factors, claims or seeds that are not there.
        """
        return self

    def needs(self) -> Needs:
        """What at least one of its arms must be able to give."""
        return Needs()

    @final
    def record(self, name: str) -> FigureRecord:
        """As the plan keeps it."""
        own = self.model_dump(mode="json", exclude={"name", "kind", *_SAID})
        return FigureRecord(
            name=name, kind=self.kind, options=own, **{key: getattr(self, key) for key in _SAID}
        )

    @classmethod
    @final
    def of(cls, record: FigureRecord) -> Self:
        """The figure that a plan's record stands for.

        Raises:
            UserError: Its options are not those of the kind.
        """
        own = {key: value for key, value in record.options.items() if key in cls.model_fields}
        said = {key: getattr(record, key) for key in _SAID}
        return cls.parse({**own, "kind": record.kind, **said})

    # -- in a report -----------------------------------------------------------------------

    def predicted(self, source: Source) -> Sequence[str]:
        """The arms whose stored predictions it shows; most figures need none."""
        return ()

    def rows(self, source: Source) -> pd.DataFrame:
        """Its data.

        Raises:
            NotDrawnError: There is nothing to show yet.
            UserError: It names something that was not recorded.
        """
        raise NotImplementedError

    def title_of(self, rows: pd.DataFrame) -> str:
        """Above it, where the study file says nothing."""
        return self.usual

    def reading(self, rows: pd.DataFrame) -> str:
        """How it is read, and what it leaves out."""
        raise NotImplementedError

    def left_out(self, source: Source) -> str:
        """A sentence about arms that it has no room for; empty where it shows all of its own."""
        return ""

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """Draw it.

        Args:
            rows: Its data.
            every: Labels of all arms of the study: a series looks alike in every figure.
        """
        raise NotImplementedError

    @final
    def draw(self, source: Source) -> Drawn:
        """Rows, words and chart; raises as `rows` does."""
        rows, thinned = fewer_dots(self.rows(source))
        title = self.heading or self.title_of(rows)
        said = f"{self.caption.rstrip('.')}. " if self.caption else ""
        chart = self.chart(rows, source.frames.arms)
        words = said + self.reading(rows) + thinned + self.left_out(source)
        return Drawn(title, words, rows, chart)


class OfArms(Figure):
    """A figure of several arms; `arms` left out, of all that it can show."""

    arms: Selectors | None = None

    one_by_one: ClassVar[bool] = True
    """Whether it draws each of its arms apart: of too many, some."""

    def resolved(self, context: Context) -> Self:
        """With the labels of its arms."""
        return self.model_copy(update={"arms": context.arms.pick_any(self.arms)})

    def labels(self, source: Source) -> Sequence[str]:
        """The arms that it draws, once it is resolved: its own, or of too many those chosen."""
        return self._chosen(source).arms

    def left_out(self, source: Source) -> str:
        """How many of its arms are drawn, and which."""
        arms, how = self._chosen(source)
        if not how or not self.one_by_one:
            return ""
        return (
            f" {len(arms)} of {len(self._own(source)):,} arms are drawn: {how}. The tables of the "
            "report have all of them, and `arms` of a figure in the study file names others."
        )

    def _chosen(self, source: Source) -> Chosen:
        return chosen_arms(source.frames, self._own(source))

    def _own(self, source: Source) -> list[str]:
        return list(map(str, self.arms)) if self.arms is not None else source.frames.arms


class OfClaims(Figure):
    """A figure of the study's claims; `claims` left out, of all of them."""

    claims: Names | None = None

    def resolved(self, context: Context) -> Self:
        """Unchanged: its claims must be there."""
        if not context.claims:
            raise UserError("the study makes no claims")
        for name in self.claims or ():
            if name not in context.claims:
                raise UserError(unknown("claim", name, context.claims))
        return self

    def estimated(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of its claims that have an estimate.

        Raises:
            NotDrawnError: There are none.
        """
        wanted = table["estimate"].notna()
        if self.claims:
            wanted &= table["claim"].isin(self.claims)
        if not wanted.any():
            raise NotDrawnError("no claim has an estimate yet")
        return table[wanted].reset_index(drop=True)


def noted(rows: pd.DataFrame, **notes: object) -> pd.DataFrame:
    """Rows with what else their caption says, as `attrs`."""
    rows.attrs.update(notes)
    return rows


_DOTS = 5000
"""Seeds that a figure has a dot for each."""
_NUMBERS = {"part", "value", "low", "high", "seeds", "seed", "id", "reached"}


def fewer_dots(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows with at most about `_DOTS` dots of seeds, and a sentence where some are left out.

    Of each mean's seeds those are kept that lie evenly between its least and its greatest.
    """
    seeds = rows.index[rows["part"] == "seed"] if "part" in rows else rows.index[:0]
    if len(seeds) <= _DOTS:
        return rows, ""
    by = [name for name in rows if name not in _NUMBERS]
    groups = rows.loc[seeds].groupby(by, dropna=False, sort=False)["value"]
    most = max(_DOTS // groups.ngroups, 3)
    rank, size = groups.rank(method="first") - 1, groups.transform("size")
    # The n ranks fall into `most` equal parts: the first of each is kept, and the last rank.
    step = rank * most // size
    kept = (step != (rank - 1) * most // size) | (rank == size - 1)
    drawn = int(kept.sum())
    rows = rows.drop(index=seeds[~kept.to_numpy()]).reset_index(drop=True)
    return (
        rows,
        f" {drawn:,} of {len(seeds):,} seeds have a dot, evenly between least and greatest.",
    )
