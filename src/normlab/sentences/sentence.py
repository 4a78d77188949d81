"""A sentence of a source: what it says, and which studies ask or show it, or why none does."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from normlab.recipe.component import Spec, listed
from normlab.sentences.shown import Shown, shown_from

Source = Literal["A", "B", "C", "D", "all"]
"""A write-up by its letter in `docs/studies.md`; `all`: what normlab does for each of them."""

Why = Literal["no claim yet", "cannot be run", "no statement", "promise not kept"]
"""Why no study asks a sentence: a claim is to be written; nobody could run it; it states nothing
that a result could refute; normlab does not do yet what it says of itself."""

Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], BeforeValidator(listed), Field(min_length=1)]


class NotAsked(Spec):
    """Why no study asks a sentence."""

    title: ClassVar[str] = "not_asked"
    why: Why
    reason: Text


class Sentence(Spec):
    """A sentence, figure, table or setting of a source.

    Attributes:
        number: Its place in the list of all of them.
        quote: As the source has it; ` ... ` where words are left out.
        has: What the source has, where that is no words of its own.
        claims: Study -> names of the claims that hold together where the sentence holds. Of
            several studies the first is the closest to the source.
        also: Study -> names of claims that ask more about it, and decide nothing here.
        shown: What reproduces it where it is no claim.
        not_asked: Why there are no claims though it says what results could refute, or why there
            is nothing to ask.
        note: What else must be known, such as where the source contradicts itself.
    """

    title: ClassVar[str] = "a sentence"
    number: Annotated[int, Field(ge=1)]
    quote: Text | None = None
    has: Text | None = None
    claims: dict[Text, Names] = {}
    also: dict[Text, Names] = {}
    shown: Annotated[
        tuple[Annotated[Shown, BeforeValidator(shown_from)], ...], BeforeValidator(listed)
    ] = ()
    not_asked: NotAsked | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _one_text_one_state(self) -> Self:
        where = f"sentence {self.number}"
        if (self.quote is None) == (self.has is None):
            raise ValueError(f"{where}: one of 'quote' and 'has' is needed")
        if self.claims and self.not_asked:
            raise ValueError(f"{where} has claims: it cannot have 'not_asked' too")
        if self.also and not self.claims:
            raise ValueError(f"{where}: 'also' needs 'claims' beside it")
        if not (self.claims or self.shown or self.not_asked):
            raise ValueError(
                f"{where}: 'claims' that ask it, 'shown' or the reason in 'not_asked' is needed"
            )
        return self

    @property
    def text(self) -> str:
        """What the source has."""
        return self.quote or self.has or ""

    @property
    def state(self) -> Literal["asked", "shown", "not asked"]:
        """Whether claims ask it, something merely shows it, or neither."""
        if self.claims:
            return "asked"
        return "not asked" if self.not_asked else "shown"


class SourceFile(Spec):
    """A file of sentences: everything that one source has."""

    title: ClassVar[str] = "a file of sentences"
    title_of_source: Text
    sentences: Annotated[tuple[Sentence, ...], BeforeValidator(listed), Field(min_length=1)]
