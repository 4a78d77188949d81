"""A row of the scoreboard: a sentence with the verdicts of the claims that ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.errors import UserError, unknown
from normlab.sentences.bundle import Bundle
from normlab.sentences.sentence import Sentence, Source
from normlab.sentences.setups import Scale, StudyScale
from normlab.wording import is_missing

Word = Literal["supported", "refuted", "inconclusive"]
WORDS: tuple[Word, ...] = ("refuted", "inconclusive", "supported")
"""Verdicts; of several claims that must hold together, the first of these that one of them has."""
_NEAREST: tuple[Scale | None, ...] = ("full", "laptop", "rehearsal", None)


@dataclass(frozen=True)
class Asked:
    """A claim that asks a sentence.

    Attributes:
        study: Whose claim.
        claim: Its name.
        kind: Of `normlab.stats.claims.CLAIMS`.
        verdict: None where no trials of the whole study were released.
        seeds: Fewest of its arms; None where nothing was released.
        scale: Of what was released.
        measured: In words; None without a verdict.
        exploratory: Why it is no claim made before the results, or None.
        reason: Of the verdict, or why there is none.
    """

    study: str
    claim: str
    kind: str
    verdict: Word | None
    seeds: int | None
    scale: Scale | None
    measured: str | None
    exploratory: str | None
    reason: str


@dataclass(frozen=True)
class Row:
    """A sentence of a source and what became of it.

    Attributes:
        number: Of the sentence.
        sentence: What the source has.
        source: Its letter, or `all`.
        quoted: Whether the sentence is the source's own words.
        state: `asked` by claims, merely `shown`, or `not asked`.
        study: The study that answers or shows it: of several the one whose released trials are
            nearest to what the source ran, then the first; None where none does.
        claim: The claim that decides: the first that has the row's verdict; None where none asks.
        verdict: Of the claims of that study, which must hold together: refuted if one is, supported
            if all are; None where nothing but a rehearsal was released.
        seeds: Fewest of an arm that it rests on; None where nothing was released.
        scale: Of what was released of that study; None where nothing was.
        reason: Of the verdict, or why there is none.
        note: What else must be known, such as where the source contradicts itself.
        asked: Every claim that asks the sentence.
        shown: What reproduces it, in words.
        why: Why it is not asked, in a word; see `normlab.sentences.sentence.Why`.
    """

    number: int
    sentence: str
    source: Source
    quoted: bool
    state: Literal["asked", "shown", "not asked"]
    study: str | None
    claim: str | None
    verdict: Word | None
    seeds: int | None
    scale: Scale | None
    reason: str
    note: str | None
    asked: tuple[Asked, ...]
    shown: tuple[str, ...]
    why: str | None


def row_of(
    source: Source, sentence: Sentence, bundle: Bundle, scales: Callable[[str], StudyScale]
) -> Row:
    """The row of a sentence.

    Raises:
        UserError: It names a study, a claim or a part of a study that is not there.
    """
    asked, study, claim, verdict, seeds = (), None, None, None, None
    reason = sentence.not_asked.reason if sentence.not_asked else ""
    try:
        for thing in sentence.shown:
            thing.check(bundle)
        asked = tuple(
            _asked(study, name, bundle, scales(study))
            for study, names in sentence.claims.items()
            for name in names
        )
        shown_by = [thing.study_name for thing in sentence.shown if thing.study_name]
        known = [scales(name) for name in (sentence.claims or shown_by)]
    except UserError as error:
        raise UserError(f"{source.lower()}.yaml, sentence {sentence.number}: {error}") from None
    nearest = min(known, key=lambda each: _NEAREST.index(each.scale)) if known else None
    if nearest is not None:
        study, seeds = nearest.study, nearest.seeds
    shown = tuple(thing.text() for thing in sentence.shown)
    if asked:
        deciding = decided([each for each in asked if each.study == study])
        claim, verdict, seeds = deciding.claim, deciding.verdict, deciding.seeds
        reason = "; ".join(filter(None, [deciding.measured, deciding.reason]))
    elif not reason:
        reason = f"no claim, but shown by {'; '.join(shown)}"
    return Row(
        number=sentence.number,
        sentence=sentence.text,
        source=source,
        quoted=sentence.quote is not None,
        state=sentence.state,
        study=study,
        claim=claim,
        verdict=verdict,
        seeds=seeds,
        scale=nearest.scale if nearest is not None else None,
        reason=reason,
        note=sentence.note,
        asked=asked,
        shown=shown,
        why=sentence.not_asked.why if sentence.not_asked else None,
    )


def decided(asked: Sequence[Asked]) -> Asked:
    """The claim that decides, of claims of one study that must hold together."""
    order = {word: place for place, word in enumerate(WORDS)}
    return min(asked, key=lambda each: order.get(each.verdict or "", -1))


def _asked(study: str, name: str, bundle: Bundle, scale: StudyScale) -> Asked:
    claims = {claim.name: claim for claim in bundle.outline(study).claims}
    if name not in claims:
        raise UserError(f"{study}: {unknown('claim', name, claims)}")
    kind = claims[name].kind
    if scale.scale == "rehearsal":
        reason = f"rehearsed only, which answers nothing: normlab run {study}"
        return Asked(study, name, kind, None, scale.seeds, scale.scale, None, None, reason)
    if scale.scale is None:
        reason = f"not run yet: normlab run {study}"
        return Asked(study, name, kind, None, None, None, None, None, reason)
    found = bundle.verdicts(study).loc[name]
    return Asked(
        study=study,
        claim=name,
        kind=kind,
        verdict=found["verdict"],
        seeds=int(found["seeds"]),
        scale=scale.scale,
        measured=_text(found["measured"]),
        exploratory=_text(found["exploratory"]),
        reason=str(found["reason"]),
    )


def _text(value: object) -> str | None:
    return None if is_missing(value) or not value else str(value)
