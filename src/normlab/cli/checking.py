"""What a study's verdicts are for a program that goes by an exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from normlab.cli.verdicts import without_nan
from normlab.errors import UserError
from normlab.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from normlab.study.stored import StoredClaims

SUPPORTED, REFUTED, NONE, OPEN = 0, 1, 2, 3
"""Exit codes: all claims are supported, one is refuted, there are none, one is still open."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Verdicts, counted.

    Attributes:
        supported: How many claims are supported.
        refuted: How many claims are refuted.
        open: How many claims are inconclusive, or not to be judged yet.
        not_in_variant: Claims whose arms this variant of the study lacks.
        exploratory: How many of the supported and refuted were not made before the results.
        why_open: Why those that are open are, by their name.
    """

    supported: int
    refuted: int
    open: int
    not_in_variant: int
    exploratory: int
    why_open: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """One refuted claim outweighs all others, and one that is open those that are supported."""
        if self.refuted:
            return REFUTED
        if self.open:
            return OPEN
        return SUPPORTED if self.supported else NONE

    def __str__(self) -> str:
        parts = {
            "supported": self.supported,
            "refuted": self.refuted,
            "open": self.open,
            "not in this variant": self.not_in_variant,
        }
        words = ", ".join(f"{number} {word}" for word, number in parts.items() if number)
        told = f" ({self.exploratory} exploratory)" if self.exploratory else ""
        return f"check: {words}{told}: exit code {self.exit_code}"


def check_of(
    claims: Sequence[Mapping[str, Any]], *, unfinished: Mapping[str, int], rehearsal: bool
) -> Check:
    """Count verdicts.

    Args:
        claims: From `normlab.claims`, a mapping each.
        unfinished: Planned trials still to be trained, by the name of a claim that waits for them.
        rehearsal: Whether the trials answer nothing: every claim is open then.
    """
    counts: Counter[str] = Counter()
    why: dict[str, str] = {}
    exploratory = 0
    for claim in claims:
        name, word = str(claim["claim"]), str(claim["verdict"])
        if word == "not in this variant":
            counts[word] += 1
        elif rehearsal:
            why[name] = "the quick variant answers nothing"
        elif unfinished.get(name):
            why[name] = f"not judged yet: {counted(unfinished[name], 'trial')} to train"
        elif word not in {"supported", "refuted"}:
            why[name] = str(claim["reason"] or word)
        else:
            counts[word] += 1
            exploratory += bool(claim["exploratory"])
    return Check(
        supported=counts["supported"],
        refuted=counts["refuted"],
        open=len(why),
        not_in_variant=counts["not in this variant"],
        exploratory=exploratory,
        why_open=why,
    )


def print_check(check: Check) -> None:
    """What `--check` goes by, on standard error: a program reads the exit code.

    Raises:
        UserError: There is no claim to go by.
    """
    import sys

    from normlab.text import shown

    if check.exit_code == NONE:
        variant = " that this variant has arms for" if check.not_in_variant else ""
        raise UserError(f"the study makes no claims{variant}: there is nothing to check")
    lines = [f"open: {name}: {why}" for name, why in check.why_open.items()]
    sys.stderr.writelines(f"{shown(line)}\n" for line in (*lines, str(check)))


def judged_record(
    name: str, claims: pd.DataFrame, stored: StoredClaims | None = None
) -> dict[str, Any]:
    """Verdicts for programs, as in `normlab.cli.outputs.claims.ClaimsJudged`.

    Args:
        name: The study's.
        claims: From `normlab.claims` or `normlab.claims_from`.
        stored: What the stored plan says of them; None of trials run elsewhere.
    """
    from normlab.cli.variant import variant_text

    rows = without_nan(claims.to_dict("records"))
    check = stored_check(rows, stored)
    unfinished = {} if stored is None else stored.unfinished
    return {
        "name": name,
        "rehearsal": stored is not None and stored.plan.rehearsal,
        "variant": None if stored is None else variant_text(stored.plan),
        "check": {"exit_code": check.exit_code, **asdict(check)},
        "claims": [row | {"unfinished": unfinished.get(row["claim"], 0)} for row in rows],
    }


def stored_check(rows: Sequence[Mapping[str, Any]], stored: StoredClaims | None) -> Check:
    """Verdicts counted, with what the stored plan says of them."""
    return check_of(
        rows,
        unfinished={} if stored is None else stored.waiting,
        rehearsal=stored is not None and stored.plan.rehearsal,
    )
