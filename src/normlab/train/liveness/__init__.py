"""Proof that each declared intervention was on, from the real first epoch of every trial.

Every check compares what the training did with what the recipe *declares*: the norms that are
there and what they compute, dropout's masks, the gradients of gates, the roles a penalty acts on,
clipping, augmentation, precision. The watchers look on through hooks and copies; they draw nothing
and change nothing, so that a trial with and without them has the same weights, bit for bit. A trial
with a check that does not hold is `invalid` and ends after its first epoch: what it would train is
not what it claims.
"""

from __future__ import annotations

from normlab.records import Check
from normlab.train.liveness.norms import NormWatcher
from normlab.train.liveness.precision import PrecisionWatcher
from normlab.train.liveness.probe import Probe
from normlab.train.liveness.randomness import RandomnessWatcher
from normlab.train.liveness.trial import over_the_trial
from normlab.train.liveness.updates import GradientWatcher, UpdateWatcher
from normlab.train.liveness.watcher import Watcher

__all__ = [
    "GradientWatcher",
    "NormWatcher",
    "PrecisionWatcher",
    "Probe",
    "RandomnessWatcher",
    "UpdateWatcher",
    "Watcher",
    "over_the_trial",
    "why_invalid",
]


def why_invalid(checks: tuple[Check, ...]) -> str | None:
    """What did not hold, in one line; None if all did."""
    wrong = [f"{c.name}: declared {c.declared}; found {c.found}" for c in checks if not c.live]
    return "; ".join(wrong) or None
