"""Claims judged: the plan's claims against the store's trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from normlab.frames.exploratory import exploratory
from normlab.frames.load import Frames, once
from normlab.frames.scores import cells, images, score_array, trials_of
from normlab.frames.tables import COUNTED
from normlab.records import UNFINISHED
from normlab.records.plan import Claim, ClaimRecord, PlanRecord
from normlab.stats import Times, one_image_variance
from normlab.stats.claims import Rules, Verdict, claim_from, verdict, verdict_at_looks
from normlab.stats.sequential import look_alphas


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
    """Every claim of the plan, judged on the trials that count; one family.

    Of a study that is watched a claim between looks has an estimate and no verdict.
    """
    return [
        Judged(
            record,
            so_far(frames, record) if frames.watched else verdict_on(frames, record),
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


def so_far(frames: Frames, record: ClaimRecord) -> Verdict:
    """The verdict at a look, and of a settled claim; between looks an estimate and no verdict.

    The estimate rests on every finished trial. Its interval is the one that the next look will
    have, or, where seeds are not added at looks, the end, which is the only look then.
    """
    waiting = _unfinished_seeds(frames, record)
    if not waiting:
        return verdict_on(frames, record)
    how, after = rules(frames.plan, record, frames), ""
    if looks := frames.plan.sequential:
        whole = _leading(frames, waiting)
        taken = [seeds for seeds in looks if seeds <= whole]
        if taken:
            last = verdict_on(frames, record)
            is_settled = last.verdict != "inconclusive"
            if is_settled or len(taken) == len(looks) or whole in taken:
                return last
        how = replace(how, alpha=look_alphas(how.alpha, looks)[len(taken)])
        after = f"open after the look at {taken[-1]} seeds; " if taken else ""
        after += f"the next look is at {looks[len(taken)]} seeds"
    found = verdict(claim_from(record, frames.arms), trials_of(frames, record), how)
    return replace(
        found,
        verdict="in progress",
        size=None,
        reason=after or "the verdict comes when all trials of its arms are finished",
        p=float("nan"),
        seeds_to_settle=None,
        reachable=None,
        pairs=(),
        candidates=(),
    )


def _whole_seeds(frames: Frames, record: ClaimRecord) -> int:
    """Leading seeds of which no trial of the claim's arms is still to be trained.

    A look that was cut short is not taken yet. One seed at least is left, to show what there is.
    """
    return max(_leading(frames, _unfinished_seeds(frames, record)), 1)


def _unfinished_seeds(frames: Frames, record: ClaimRecord) -> frozenset[int]:
    trials = frames.trials
    waiting = trials["arm"].isin(record.arms) & trials["state"].isin(UNFINISHED)
    return frozenset(trials.loc[waiting, "seed"])


def _leading(frames: Frames, unfinished: frozenset[int]) -> int:
    seeds = list(dict.fromkeys(frames.trials["seed"]))
    return next((at for at, seed in enumerate(seeds) if seed in unfinished), len(seeds))


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
