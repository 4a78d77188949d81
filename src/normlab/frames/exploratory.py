"""Which claims were made before the results, and why the others were not: these are exploratory."""

from __future__ import annotations

from normlab.frames.load import Frames
from normlab.frames.tables import COUNTED
from normlab.records.plan import ClaimRecord, Declaration
from normlab.wording import counted


def exploratory(frames: Frames, record: ClaimRecord) -> str | None:
    """Why a claim is none made before the results, or None."""
    if frames.seen:
        return frames.seen
    trials = frames.trials[frames.trials["arm"].isin(record.arms)]
    scored = trials[trials["state"].isin(COUNTED)]
    first = frames.plan.first_seed
    if record.declared and (scored["seed"] < first).any():
        return (
            f"declared for release {record.declared}, by people who had seen seeds below {first}: "
            f"it is a claim on seeds from {first} on"
        )
    own = set(trials["id"])
    for look in frames.looks:
        if not own & look.trials:
            continue
        if frames.plan.bundled and look.declared == Declaration():
            continue  # what another study's report showed of them changed nothing in a release
        if (changed := _changed(look.declared, frames.plan.declaration, record)) is not None:
            where = " in another study" if look.declared == Declaration() else ""
            return f"results were seen on {look.at[:10]}{where}, {changed}"
    return None


def _changed(then: Declaration, now: Declaration, record: ClaimRecord) -> str | None:
    """What of a claim was declared otherwise when results were seen."""
    if record.hash not in then.claims:
        return "before it was stated"
    if (then.alpha, then.paired) != (now.alpha, now.paired):
        return "with another alpha or other pairs"
    if len(now.claims) < len(then.claims):
        declared, left = len(then.claims), len(now.claims)
        return f"when {counted(declared, 'claim')} were declared; {left} are left"
    if then.sequential != now.sequential:
        return "when other looks at the results were declared"
    if not now.sequential and then.seeds != now.seeds:
        planned, seeds = len(then.seeds), len(now.seeds)
        verb = "was" if planned == 1 else "were"
        return f"when {counted(planned, 'seed')} {verb} planned; now there are {seeds}"
    return None
