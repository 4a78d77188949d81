"""Where the time of a training goes, beside the least that this machine could take for it."""

from normlab.train.profiling.floor import Work
from normlab.train.profiling.machine import Rates, measure
from normlab.train.profiling.training import Part, Training, profile_training

__all__ = ["Part", "Rates", "Training", "Work", "measure", "profile_training"]
