"""The table of verdicts, with what each of them leaves open or rests on in words."""

from __future__ import annotations

import numpy as np

from normlab.frames.answer import out_of_reach_text, sentence_of
from normlab.frames.claim_words import (
    cells_text,
    detail_text,
    few_left_text,
    measured_text,
    time_text,
)
from normlab.frames.judging import judge, rules
from normlab.frames.load import Frames, once
from normlab.frames.robustness import robustness, robustness_text
from normlab.frames.scores import trials_of
from normlab.lazy import pandas as pd
from normlab.records.plan import ClaimRecord, UnresolvedClaim
from normlab.stats.claims import CLAIMS, Verdict


@once
def claim_table(frames: Frames) -> pd.DataFrame:
    """The verdicts as a table: a row per claim, numbers with the metric's own unit and sign.

    Columns: `claim`, `kind`, `says`, `metric`, `verdict`, `size`, `estimate`, `low`, `high`,
    `confidence`, `p`, `alpha`, `margin`, `seeds` (fewest of its arms), `seeds_to_settle`,
    `measured` in words, the verdict as a plain `sentence`, its `reason`, `detail` in words (which
    pairs of a ranking are shown, which arms could be the best one, how many trials reached the
    target), `exploratory`, `left_out`.
    """
    columns = [
        "claim", "kind", "says", "metric", "verdict", "size", "estimate", "low", "high",
        "confidence", "p", "alpha", "margin", "seeds", "seeds_to_settle", "measured", "sentence",
        "reason", "detail", "exploratory", "left_out",
    ]  # fmt: skip
    rows = []
    others = robustness(frames) if frames.plan.analysis.alternatives else None
    for judged in judge(frames):
        record, found = judged.record, judged.verdict
        row: dict[str, object] = {"claim": record.name, "kind": record.kind, "says": record.says}
        if found is None or isinstance(record, UnresolvedClaim):
            why = record.unresolved if isinstance(record, UnresolvedClaim) else ""
            rows.append({**row, "verdict": "not in this variant", "reason": why})
            continue
        measured = CLAIMS[record.kind].as_measured(found, record)
        rows.append(
            {
                **row,
                **{name: getattr(found, name) for name in columns if hasattr(found, name)},
                **dict(zip(("estimate", "low", "high"), measured, strict=True)),
                "metric": record.metric or time_text(record.time),
                "seeds": min(found.seeds),
                "measured": measured_text(record, found, frames.arms),
                "sentence": sentence_of(frames, record, found),
                "detail": _detail(frames, record, found, others),
                "exploratory": judged.exploratory,
                "left_out": ", ".join(
                    f"{n} {state}" for state, n in (judged.left_out or {}).items()
                ),
            }
        )
    return pd.DataFrame(rows, columns=columns)


def _detail(
    frames: Frames, record: ClaimRecord, found: Verdict, others: pd.DataFrame | None
) -> str:
    """What a verdict leaves open or rests on; in how many cells and analyses it is alike."""
    parts = [detail_text(record, found, frames.arms), few_left_text(found)]
    if record.cells and isinstance(scores := trials_of(frames, record), np.ndarray):
        parts.append(cells_text(record, scores, rules(frames.plan, record), frames.arms))
    if far := out_of_reach_text(record, found):
        parts.append(f"{far[0].upper()}{far[1:]}.")
    if others is not None:
        parts.append(robustness_text(others, record.name))
    return " ".join(filter(None, parts))
