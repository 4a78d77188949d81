"""Claims judged: the plan's claims against the store's trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from normlab.frames.claim_words import cells_text, detail_text, measured_text, time_text
from normlab.frames.exploratory import exploratory
from normlab.frames.load import Frames
from normlab.frames.scores import images, score_array, trials_of
from normlab.frames.tables import COUNTED
from normlab.lazy import pandas as pd
from normlab.records.plan import Claim, ClaimRecord, PlanRecord, UnresolvedClaim
from normlab.stats import one_image_variance
from normlab.stats.claims import CLAIMS, Rules, Verdict, claim_from, verdict, verdict_at_looks


@dataclass(frozen=True)
class Judged:
    """One claim with what the trials say.

    Attributes:
        record: The claim as the plan has it.
        verdict: None where this variant of the study lacks its arms.
        exploratory: Why it is no claim made before the results, or None.
        left_out: Planned trials of its arms that do not count, by state.
    """

    record: Claim
    verdict: Verdict | None
    exploratory: str | None = None
    left_out: dict[str, int] | None = None


def judge(frames: Frames) -> list[Judged]:
    """Every claim of the plan, judged on the trials that count; one family."""
    return [
        Judged(
            record,
            _verdict(frames, record),
            exploratory(frames, record),
            _left_out(frames, record),
        )
        if isinstance(record, ClaimRecord)
        else Judged(record, None)
        for record in frames.plan.claims
    ]


def claim_table(frames: Frames) -> pd.DataFrame:
    """The verdicts as a table: a row per claim, numbers with the metric's own unit and sign.

    Columns: `claim`, `kind`, `says`, `metric`, `verdict`, `size`, `estimate`, `low`, `high`,
    `confidence`, `p`, `alpha`, `margin`, `seeds` (fewest of its arms), `seeds_to_settle`,
    `measured` in words, `reason`, `detail` in words (which pairs of a ranking are shown, which
    arms could be the best one, how many trials reached the target), `exploratory`, `left_out`.
    """
    columns = [
        "claim", "kind", "says", "metric", "verdict", "size", "estimate", "low", "high",
        "confidence", "p", "alpha", "margin", "seeds", "seeds_to_settle", "measured", "reason",
        "detail", "exploratory", "left_out",
    ]  # fmt: skip
    rows = []
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
                "detail": _detail(frames, record, found),
                "exploratory": judged.exploratory,
                "left_out": ", ".join(
                    f"{n} {state}" for state, n in (judged.left_out or {}).items()
                ),
            }
        )
    return pd.DataFrame(rows, columns=columns)


def rules(plan: PlanRecord, record: ClaimRecord, frames: Frames | None = None) -> Rules:
    """How a study's claims are tested; the frames tell how many images an accuracy is a mean of."""
    count = images(frames, record.metric or "") if frames is not None else None
    return Rules(
        alpha=plan.analysis.alpha,
        family=max(len(plan.judged), 1),
        paired=plan.analysis.paired if record.paired is None else record.paired,
        relative=record.relative,
        variance_floor=float(one_image_variance(count)) if count else 0.0,
    )


def _detail(frames: Frames, record: ClaimRecord, found: Verdict) -> str:
    """What a verdict leaves open or rests on, and in how many cells the means agree."""
    parts = [detail_text(record, found, frames.arms)]
    if record.cells and isinstance(scores := trials_of(frames, record), np.ndarray):
        parts.append(cells_text(record, scores, rules(frames.plan, record), frames.arms))
    return " ".join(filter(None, parts))


def _verdict(frames: Frames, record: ClaimRecord) -> Verdict:
    claim, trials = claim_from(record, frames.arms), trials_of(frames, record)
    how = rules(frames.plan, record, frames)
    if frames.plan.sequential:
        return verdict_at_looks(claim, trials, how, frames.plan.sequential)
    return verdict(claim, trials, how)


def _left_out(frames: Frames, record: ClaimRecord) -> dict[str, int]:
    arms = set(record.arms)
    trials = frames.trials[frames.trials["arm"].isin(arms)]
    states = trials["state"].astype(str)
    if record.metric is not None:
        scores = score_array(frames, record.metric, record.at)
        rows = {label: row for row, label in enumerate(frames.arms)}
        columns = {seed: i for i, seed in enumerate(dict.fromkeys(frames.trials["seed"]))}
        found = scores[trials["arm"].map(rows), trials["seed"].map(columns)]
        without = states.isin(COUNTED).to_numpy() & np.isnan(found)
        states = states.mask(without, states + " without a value")
    left = states[~states.isin(COUNTED)]
    return {str(state): int(count) for state, count in left.value_counts().items()}
