"""Which arms of a large study a page and a figure show one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
_TELLING = "those that claims about few arms name, the five best and the five worst"


class Chosen(NamedTuple):
    """Some arms, or all.

    Attributes:
        arms: Labels, in the order of those that they were chosen from.
        how: Which they are, in words; empty of all.
    """

    arms: Sequence[str]
    how: str


def chosen_arms(frames: Frames, among: Sequence[str] | None = None) -> Chosen:
    """All arms up to `MANY`; of more `MOST` at most.

    Args:
        frames: The study.
        among: Labels of some of its arms to choose from; left out, of all.
    """
    every = frames.arms if among is None else among
    if len(every) <= MANY:
        return Chosen(every, "")
    telling = _telling(frames)
    if found := [arm for arm in every if arm in telling]:
        return Chosen(found, _TELLING)
    return Chosen(every[:MOST], f"the first {MOST}")


@once
def _telling(frames: Frames) -> frozenset[str]:
    """The arms at both ends of the means of what the study judges, and those of small claims.

    Claims about few arms have theirs in turn, until there are `MOST`.
    """
    analysis = frames.plan.analysis
    # Turned round where less is better.
    means = moments(score_array(frames, analysis.metric, analysis.at)).mean
    known = np.flatnonzero(np.isfinite(means))
    order = known[np.argsort(-means[known], kind="stable")]
    ends = [*order[:_ENDS], *order[_ENDS:][-_ENDS:]]
    found = {frames.arms[at] for at in ends}
    for claim in frames.plan.judged:
        if len(claim.arms) <= _FEW and len(found.union(claim.arms)) <= MOST:
            found.update(claim.arms)
    return frozenset(found)
