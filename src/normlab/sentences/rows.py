"""A row of the scoreboard: a sentence with the verdicts of the claims that ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
        decides: Whether the sentence's verdict rests on it; another asks more than it says.
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
    decides: bool
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
        scale: Of what was released of that study; None where nothing was. Of a sentence that is not
            asked, study, seeds and scale are None, though something may show it.
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

    @property
    def exploratory(self) -> bool:
        """Whether a claim behind its verdict was stated after its trials had been seen."""
        behind = [one for one in self.asked if one.decides and one.study == self.study]
        settled = self.verdict in ("supported", "refuted")
        return settled and any(one.exploratory for one in behind if one.verdict == self.verdict)


def row_of(
    source: Source, sentence: Sentence, bundle: Bundle, scales: Callable[[str], StudyScale]
) -> Row:
    """The row of a sentence.

    Raises:
        UserError: It names a study, a claim or a part of a study that is not there.
    """
    try:
        for thing in sentence.shown:
            thing.check(bundle)
        asked = tuple(
            _asked(study, name, bundle, scales(study), decides=group is sentence.claims)
            for group in (sentence.claims, sentence.also)
            for study, names in group.items()
            for name in names
        )
        shown_by = [thing.study_name for thing in sentence.shown if thing.study_name]
        known = [scales(name) for name in (sentence.claims or shown_by)]
    except UserError as error:
        raise UserError(f"{source.lower()}.yaml, sentence {sentence.number}: {error}") from None
    nearest = min(known, key=lambda each: _NEAREST.index(each.scale)) if known else None
    of_it = [each for each in asked if nearest and each.decides and each.study == nearest.study]
    deciding = decided(of_it) if of_it else None
    shown = tuple(thing.text() for thing in sentence.shown)
    if deciding:
        reason = "; ".join(filter(None, [deciding.measured, deciding.reason]))
    elif sentence.not_asked:
        reason = sentence.not_asked.reason
    else:
        reason = f"no claim, but shown by {'; '.join(shown)}"
    rests_on = deciding or (None if sentence.not_asked else nearest)
    return Row(
        number=sentence.number,
        sentence=sentence.text,
        source=source,
        quoted=sentence.quote is not None,
        state=sentence.state,
        study=rests_on.study if rests_on else None,
        claim=deciding.claim if deciding else None,
        verdict=deciding.verdict if deciding else None,
        seeds=rests_on.seeds if rests_on else None,
        scale=rests_on.scale if rests_on else None,
        reason=reason,
        note=sentence.note,
        asked=asked,
        shown=shown,
        why=sentence.not_asked.why if sentence.not_asked else None,
    )


def decided(asked: Sequence[Asked]) -> Asked:
    """The claim that decides, of claims of one study that must hold together."""
    order: tuple[Word | None, ...] = (None, *WORDS)
    return min(asked, key=lambda each: order.index(each.verdict))


def _asked(study: str, name: str, bundle: Bundle, scale: StudyScale, *, decides: bool) -> Asked:
    claims = {claim.name: claim for claim in bundle.outline(study).claims}
    if name not in claims:
        raise UserError(f"{study}: {unknown('claim', name, claims)}")
    made = Asked(
        study=study,
        claim=name,
        kind=claims[name].kind,
        decides=decides,
        verdict=None,
        seeds=scale.seeds,
        scale=scale.scale,
        measured=None,
        exploratory=None,
        reason=f"not run yet: normlab run {study}",
    )
    if scale.scale is None:
        return made
    if scale.scale == "rehearsal":
        reason = f"rehearsed only, which answers nothing: normlab run {study}"
        return replace(made, reason=reason)
    found = bundle.verdicts(study)[name]
    return replace(
        made,
        verdict=next(word for word in WORDS if word == found["verdict"]),
        seeds=int(str(found["seeds"])),
        measured=_text(found["measured"]),
        exploratory=_text(found["exploratory"]),
        reason=str(found["reason"]),
    )


def _text(value: object) -> str | None:
    return None if is_missing(value) or not value else str(value)
