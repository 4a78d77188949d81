"""Where the time of a training goes, beside the least that this machine could take for it."""

from normlab.train.profiling.epochs import STEPS_PER_EPOCH
from normlab.train.profiling.floor import Work
from normlab.train.profiling.machine import Rates, measure
from normlab.train.profiling.training import Profiled, Training, profile_training

__all__ = [
    "STEPS_PER_EPOCH",
    "Profiled",
    "Rates",
    "Training",
    "Work",
    "measure",
    "profile_training",
]
