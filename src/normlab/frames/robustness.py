"""What becomes of each verdict under the study's alternative analyses: description, no test.

A specification curve (Simonsohn, Simmons & Nelson 2020) without its joint test: the analyses share
their trials, so the share of them in which a verdict holds is no probability.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from normlab.errors import UserError
from normlab.frames.collapses import without_collapsed
from normlab.frames.judging import judge, verdict_on
from normlab.frames.load import Frames, once
from normlab.lazy import pandas as pd
from normlab.records.plan import ClaimRecord
from normlab.stats.claims import Verdict

DECLARED = "as declared"


@once
def robustness(frames: Frames) -> pd.DataFrame:
    """Every claim under every analysis that it can have.

    Returns:
        A row per claim and analysis: `claim`, `analysis` (the declared one first), `verdict`,
        `holds` (whether it is the declared analysis' verdict), and `estimate`, `low` and `high` in
        margins, in the claim's direction. An analysis that a claim cannot have is left out: a
        claim about time has no other metric, and no permutation compares several arms unpaired.
    """
    rows: list[dict[str, object]] = []
    for judged in judge(frames):
        if judged.verdict is None or not isinstance(judged.record, ClaimRecord):
            continue
        if judged.verdict.verdict == "in progress":  # no verdict that others could agree with
            continue
        for name, found in _verdicts(frames, judged.record, judged.verdict):
            measured = (found.estimate, found.low, found.high)
            rows.append(
                {
                    "claim": judged.record.name,
                    "analysis": name,
                    "verdict": found.verdict,
                    "holds": found.verdict == judged.verdict.verdict,
                    **{
                        key: value / found.margin
                        for key, value in zip(("estimate", "low", "high"), measured, strict=True)
                    },
                }
            )
    columns = ["claim", "analysis", "verdict", "holds", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def robustness_text(rows: pd.DataFrame, claim: str) -> str:
    """In how many of the alternatives a claim's verdict holds; empty where it has none."""
    own = rows[(rows["claim"] == claim) & (rows["analysis"] != DECLARED)]
    if not len(own):
        return ""
    (word,) = rows[(rows["claim"] == claim) & (rows["analysis"] == DECLARED)]["verdict"]
    return (
        f"{word.capitalize()} in {int(own['holds'].sum())} of {len(own)} alternative analyses "
        "(they share their trials: that is no probability)."
    )


def _verdicts(
    frames: Frames, claim: ClaimRecord, declared: Verdict
) -> Iterator[tuple[str, Verdict]]:
    """The declared verdict, and that of each alternative that changes something of the claim."""
    yield DECLARED, declared
    for other in frames.plan.analysis.alternatives:
        changed = claim.under(other)
        if changed is None or (changed == claim and other.collapsed):
            continue
        of = frames if other.collapsed else without_collapsed(frames)
        with suppress(UserError):  # a test that the claim cannot have
            yield other.name, verdict_on(of, changed)
