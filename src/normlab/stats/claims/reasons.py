"""Why a verdict is what it is: one plain sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from normlab.stats.claims.base import Pair, Size, Word

TOO_FEW = "an arm has fewer than 2 seeds: one run cannot tell a difference from repeat noise"
NEVER_REACHED = "no trial of either arm reached the target within the budget"
NOT_YET = "the first look at the results comes with more seeds"

SIZES: dict[Size | None, str] = {
    "materially": "and above the margin, so the difference matters",
    "immaterially": "but below the margin, so the difference is too small to matter",
    None: "but reaches across the margin, so its size is open",
}


def better(word: Word, size: Size | None, high: float) -> str:
    """Of one contrast against 0 and the margin."""
    if word == "supported":
        return f"the whole interval lies above 0, {SIZES[size]}"
    if word == "refuted":
        if high < 0:
            return "the whole interval lies below 0: the reverse holds"
        return "the interval is not above 0 and ends below the margin"
    return "the interval reaches from 0 or less to the margin or more: too wide to tell"


def equal(word: Word) -> str:
    """Of one contrast against +- margin."""
    if word == "supported":
        return "the interval lies wholly between minus and plus the margin"
    if word == "refuted":
        return "the whole interval lies outside the margin"
    return "the interval reaches across the margin: neither equal nor different is shown"


def best(word: Word) -> str:
    """Of one side against every other."""
    if word == "supported":
        return "its interval lies above 0 against every other side"
    if word == "refuted":
        return "another side is better, also after correction for the number of sides"
    return "it is not shown better than every other side, and none is shown better than it"


def ranking(word: Word, pairs: Sequence[Pair]) -> str:
    """Of every side against the next."""
    if word == "supported":
        return "every neighbouring pair is in the claimed order"
    if word == "refuted":
        return "a neighbouring pair is in the reverse order, also after correction for their number"
    holding = sum(pair.holds for pair in pairs)
    return f"{holding} of {len(pairs)} neighbouring pairs are shown in order, none in reverse"
