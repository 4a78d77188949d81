"""The output of claims."""

from __future__ import annotations

from typing import Literal

from normlab.cli.outputs.output import Count, Output, Part

Word = Literal["supported", "refuted", "inconclusive", "in progress", "not in this variant"]


class ClaimJudged(Part):
    """A claim and its verdict. Numbers have the metric's own unit and sign.

    Accuracies and F1 scores are fractions of 1, losses nats, times seconds or a fraction of one.
    All but `claim`, `kind`, `says`, `verdict`, `unfinished` and `reason` are null where this
    variant of the study lacks the claim's arms.

    Attributes:
        claim: Its name.
        kind: Such as `better`; see docs/claims.md.
        says: The sentence that it asks.
        metric: What is judged; of a time in words.
        verdict: `in progress` stands for a claim that has none yet.
        size: Of a settled claim: `materially` above the margin, `immaterially` below it; else null.
        estimate: What was measured.
        low: Lower end of its interval; null where it is open.
        high: Upper end of its interval; null where it is open.
        confidence: Of the interval, a fraction of 1.
        p: Of the test, adjusted to the family of claims.
        alpha: That p is compared with.
        margin: The smallest difference that matters; of a time a fraction of it.
        seeds: Seeds that count, of its arm with the fewest.
        seeds_to_settle: How many it would take, from what is known; null where settled or unknown.
        measured: The estimate and its interval in words.
        sentence: The verdict as a plain sentence.
        reason: Why that verdict.
        detail: What it leaves open or rests on, in words.
        exploratory: Why it is no claim made before the results; null where it is one.
        left_out: Planned trials of its arms that do not count, in words.
        unfinished: Planned trials of its arms that are still to be trained.
    """

    claim: str
    kind: str
    says: str | None
    metric: str | None
    verdict: Word
    size: str | None
    estimate: float | None
    low: float | None
    high: float | None
    confidence: float | None
    p: float | None
    alpha: float | None
    margin: float | None
    seeds: Count | None
    seeds_to_settle: Count | None
    measured: str | None
    sentence: str | None
    reason: str
    detail: str | None
    exploratory: str | None
    left_out: str | None
    unfinished: int


class ClaimsChecked(Part):
    """What `--check` makes of the verdicts.

    Attributes:
        exit_code: 0 all supported, 1 one is refuted, 3 none refuted and one open, 2 no claims.
        supported: How many claims are supported.
        refuted: How many claims are refuted.
        open: How many claims are inconclusive, or not to be judged yet.
        not_in_variant: Claims whose arms this variant of the study lacks: they count for nothing.
        exploratory: How many of the supported and refuted were not made before the results.
        why_open: Why those that are open are, by their name.
    """

    exit_code: int
    supported: int
    refuted: int
    open: int
    not_in_variant: int
    exploratory: int
    why_open: dict[str, str]


class RunsLeftOut(Part):
    """Runs of another tool that do not count, for one reason.

    Attributes:
        reason: In words.
        runs: How many.
        examples: The names of the first three.
    """

    reason: str
    runs: int
    examples: list[str]


class ClaimsJudged(Output):
    """The verdicts on a study's claims.

    Attributes:
        name: The study's name.
        rehearsal: Whether the trials are those of the quick variant, which answers nothing.
        variant: How the last run differs from the study file, in words; null where it does not.
        check: What `--check` says, asked for or not.
        claims: Every claim, in the study file's order.
        notes: With `--from`: what to know of the trials, a sentence each.
        left_out: With `--from`: runs of the source that do not count, the most frequent reason
            first.
    """

    name: str
    rehearsal: bool
    variant: str | None
    check: ClaimsChecked
    claims: list[ClaimJudged]
    notes: list[str]
    left_out: list[RunsLeftOut]


class StudyWritten(Output):
    """A study file for runs made elsewhere.

    Attributes:
        file: Where it was written.
        text: What stands in it.
    """

    file: str
    text: str
