"""Training of one trial: pure in recipe and seed, whole epochs out."""

from normlab.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    to_bytes,
    weights_sha256,
)
from normlab.train.loop import EpochDone, Finished, train
from normlab.train.memory import give_back_memory, keep_freed_memory

__all__ = [
    "Checkpoint",
    "EpochDone",
    "Finished",
    "give_back_memory",
    "keep_freed_memory",
    "load_checkpoint",
    "save_checkpoint",
    "to_bytes",
    "train",
    "weights_sha256",
]
