"""Which arms of a large study a page and a figure show one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from normlab.frames.load import Frames, once
from normlab.frames.scores import score_array
from normlab.stats.intervals import moments

MANY = 200
"""Arms up to which each is shown."""
MOST = 40
"""Arms shown of more."""
_ENDS = 5
_FEW = 8  # arms: a claim about more of them is none about a single one

HOW = "those that claims about few arms name, the five best and the five worst"
"""Which they are, in words."""


@once
def chosen_arms(frames: Frames) -> Sequence[str]:
    """All arms of a study of up to `MANY`; of a larger one `MOST` at most, in the plan's order.

    They are the arms at both ends of the means of what the study judges, then those that claims
    about few arms name, claim by claim.
    """
    if len(frames.arms) <= MANY:
        return frames.arms
    analysis = frames.plan.analysis
    # Turned round where less is better.
    means = moments(score_array(frames, analysis.metric, analysis.at)).mean
    known = np.flatnonzero(np.isfinite(means))
    order = known[np.argsort(-means[known], kind="stable")]
    ends = [*order[:_ENDS], *order[_ENDS:][-_ENDS:]]
    found = dict.fromkeys(frames.arms[at] for at in ends)
    for claim in frames.plan.judged:
        if len(claim.arms) <= _FEW and len(found.keys() | claim.arms) <= MOST:
            found |= dict.fromkeys(claim.arms)
    return [arm for arm in frames.arms if arm in found] or frames.arms[:MOST]
