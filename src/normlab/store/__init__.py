"""Where plans, trials, epochs and artifacts are kept. No torch, no pandas."""

from normlab.store.leases import TakenOverError
from normlab.store.losses import Loss
from normlab.store.paths import DATABASE, artifact_path, refuse_links, staged_path
from normlab.store.reading import Look
from normlab.store.schema import NoRunsError
from normlab.store.store import Store, TrialRow

__all__ = [
    "DATABASE",
    "Look",
    "Loss",
    "NoRunsError",
    "Store",
    "TakenOverError",
    "TrialRow",
    "artifact_path",
    "refuse_links",
    "staged_path",
]
