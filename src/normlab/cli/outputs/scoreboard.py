"""The output of scoreboard."""

from __future__ import annotations

from typing import Literal

from normlab.cli.outputs.output import Output, Part

Word = Literal["supported", "refuted", "inconclusive"]
Scale = Literal["full", "laptop", "rehearsal"]


class StudyScale(Part):
    """What was released of a study.

    Attributes:
        study: Its name.
        scale: How near to what its source ran; null where nothing was released.
        seeds: Seeds of its arm with the fewest; null where nothing was released.
        differs: What makes it less than full, in words.
        changed: What else is not the source's, in words.
    """

    study: str
    scale: Scale | None
    seeds: int | None
    differs: list[str]
    changed: list[str]


class ClaimAsked(Part):
    """A claim that asks a sentence.

    Attributes:
        study: Whose claim.
        claim: Its name.
        kind: Such as `better`; see docs/claims.md.
        decides: Whether the sentence's verdict rests on it.
        verdict: Null where no trials of the whole study were released.
        seeds: Seeds of its arm with the fewest; null where nothing was released.
        scale: Of what was released.
        measured: In words; null without a verdict.
        exploratory: Why it is no claim made before the results; null where it is one.
        reason: Of the verdict, or why there is none.
    """

    study: str
    claim: str
    kind: str
    decides: bool
    verdict: Word | None
    seeds: int | None
    scale: Scale | None
    measured: str | None
    exploratory: str | None
    reason: str


class SentenceAnswered(Part):
    """A sentence of a source and what became of it.

    Attributes:
        number: The sentence's number.
        sentence: What the source has.
        source: The source's letter, or `all`.
        quoted: Whether the sentence is the source's own words.
        state: Whether claims ask it, something merely shows it, or neither.
        study: The study that answers or shows it; null where none does.
        claim: The claim that decides; null where none asks.
        verdict: Of the claims of that study, which must hold together; null where none is judged.
        seeds: Seeds of the arm with the fewest that it rests on; null where nothing was released.
        scale: Of what was released of that study; null where nothing was.
        reason: Of the verdict, or why there is none.
        note: What else must be known.
        asked: Every claim that asks the sentence.
        shown: What reproduces it, in words.
        why: Why it is not asked, in a word.
    """

    number: int
    sentence: str
    source: str
    quoted: bool
    state: Literal["asked", "shown", "not asked"]
    study: str | None
    claim: str | None
    verdict: Word | None
    seeds: int | None
    scale: Scale | None
    reason: str | None
    note: str | None
    asked: list[ClaimAsked]
    shown: list[str]
    why: str | None


class SentencesAnswered(Output):
    """Every sentence of the sources, and what became of it.

    Attributes:
        counts: How many rows there are, are asked, have which verdict, are shown, are not asked.
        why: How many rows are not asked, by why.
        studies: What was released of each bundled study.
        rows: Every sentence.
    """

    counts: dict[str, int]
    why: dict[str, int]
    studies: list[StudyScale]
    rows: list[SentenceAnswered]
