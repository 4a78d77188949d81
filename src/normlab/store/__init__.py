"""Where plans, trials, epochs and artifacts are kept. No torch, no pandas."""

from normlab.store.store import DATABASE, Store, TrialRow

__all__ = ["DATABASE", "Store", "TrialRow"]
