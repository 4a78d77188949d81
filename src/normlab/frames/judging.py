"""Claims judged: the plan's claims against the store's trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from normlab.frames.exploratory import exploratory
from normlab.frames.load import Frames, once
from normlab.frames.scores import cells, images, score_array, trials_of
from normlab.frames.tables import COUNTED
from normlab.records import UNFINISHED
from normlab.records.plan import Claim, ClaimRecord, PlanRecord
from normlab.stats import Times, one_image_variance
from normlab.stats.claims import Rules, Verdict, claim_from, verdict, verdict_at_looks


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


@once
def judge(frames: Frames) -> Sequence[Judged]:
    """Every claim of the plan, judged on the trials that count; one family."""
    return [
        Judged(
            record,
            verdict_on(frames, record),
            exploratory(frames, record),
            _left_out(frames, record),
        )
        if isinstance(record, ClaimRecord)
        else Judged(record, None)
        for record in frames.plan.claims
    ]


def rules(plan: PlanRecord, record: ClaimRecord, frames: Frames | None = None) -> Rules:
    """How a study's claims are tested; the frames tell how many images an accuracy is a mean of."""
    count = images(frames, record.metric or "") if frames is not None else None
    return Rules(
        alpha=plan.analysis.alpha,
        family=max(len(plan.judged), 1),
        paired=plan.in_pairs(record),
        relative=record.relative,
        variance_floor=float(one_image_variance(count)) if count else 0.0,
    )


def verdict_on(frames: Frames, record: ClaimRecord) -> Verdict:
    """The verdict on one claim."""
    claim, trials = claim_from(record, frames.arms), trials_of(frames, record)
    how = rules(frames.plan, record, frames)
    if frames.plan.sequential:
        whole = _whole_seeds(frames, record)
        part = trials.first(whole) if isinstance(trials, Times) else trials[:, :whole]
        return verdict_at_looks(claim, part, how, frames.plan.sequential)
    return verdict(claim, trials, how)


def _whole_seeds(frames: Frames, record: ClaimRecord) -> int:
    """Leading seeds of which no trial of the claim's arms is still to be trained.

    A look that was cut short is not taken yet. One seed at least is left, to show what there is.
    """
    trials = frames.trials
    waiting = trials["arm"].isin(record.arms) & trials["state"].isin(UNFINISHED)
    unfinished = set(trials.loc[waiting, "seed"])
    seeds = list(dict.fromkeys(trials["seed"]))
    whole = next((at for at, seed in enumerate(seeds) if seed in unfinished), len(seeds))
    return max(whole, 1)


def _left_out(frames: Frames, record: ClaimRecord) -> dict[str, int]:
    here = frames.trials["arm"].isin(set(record.arms))
    trials = frames.trials[here]
    states = trials["state"].astype(str)
    if record.metric is not None:
        scores = score_array(frames, record.metric, record.at)
        rows, columns, _ = cells(frames)
        found = scores[rows[here], columns[here]]
        without = states.isin(COUNTED).to_numpy() & np.isnan(found)
        states = states.mask(without, states + " without a value")
    left = states[~states.isin(COUNTED)]
    return {str(state): int(count) for state, count in left.value_counts().items()}
