"""Where plans, trials, epochs and artifacts are kept. No torch, no pandas."""

from normlab.store.store import DATABASE, Artifact, Store, TrialRow

__all__ = ["DATABASE", "Artifact", "Store", "TrialRow"]
