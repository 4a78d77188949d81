"""Where plans, trials, epochs and artifacts are kept. No torch, no pandas."""

from normlab.store.store import DATABASE, Look, Store, TrialRow

__all__ = ["DATABASE", "Look", "Store", "TrialRow"]
