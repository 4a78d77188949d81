"""How far a study is that still runs: seeds finished, and when its claims get their verdicts."""

from __future__ import annotations

from typing import NamedTuple

from normlab.frames.load import Frames
from normlab.records import UNFINISHED
from normlab.wording import span_text


class InProgress(NamedTuple):
    """A study between looks.

    Attributes:
        said: "in progress: 2 to 4 of 10 seeds an arm".
        next_look: When its claims get verdicts, as a sentence; empty without claims.
    """

    said: str
    next_look: str


def in_progress(frames: Frames) -> InProgress | None:
    """How far a study is that is watched; None where every planned trial is finished."""
    if not frames.watched:
        return None
    unfinished = frames.trials["state"].isin(UNFINISHED)
    if not unfinished.any():
        return None
    of_arms = (~unfinished).groupby(frames.trials["arm"], sort=False)
    done, planned = of_arms.sum(), of_arms.size()
    seeds = "seed" if planned.max() == 1 else "seeds"
    spans = [span_text(int(count.min()), int(count.max())) for count in (done, planned)]
    said = f"in progress: {' of '.join(spans)} {seeds} an arm"
    return InProgress(said, _next_look(frames))


def _next_look(frames: Frames) -> str:
    plan = frames.plan
    if not plan.judged:
        return ""
    if not plan.sequential:
        return "A claim gets its verdict when all trials of its arms are finished."
    ahead = next((look for look in plan.sequential if look >= len(plan.seeds)), plan.sequential[-1])
    looks = ", ".join(map(str, plan.sequential))
    return f"The next look at the claims is at {ahead} seeds an arm, of looks at {looks}."
