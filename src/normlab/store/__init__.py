"""Where plans, trials, epochs and artifacts are kept. No torch, no pandas."""

from normlab.store.losses import Loss
from normlab.store.schema import NoRunsError
from normlab.store.store import DATABASE, Look, Store, TrialRow

__all__ = ["DATABASE", "Look", "Loss", "NoRunsError", "Store", "TrialRow"]
