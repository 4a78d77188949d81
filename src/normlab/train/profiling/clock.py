"""Clocks that the training loop tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from normlab.train.marks import Marks
from normlab.train.profiling.layers import Cost, Key, LayerClock


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds by the wall; on a GPU when all work that was asked for is done."""
    if device.type != "cuda":
        return time.perf_counter

    def seconds() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return seconds


class StepClock(Marks):
    """Times the parts of steps, and what runs in an epoch beside them.

    Attributes:
        steps: Of every step the seconds of its parts, by name.
        stages: Of every step the seconds of the stages of its update.
        rest: Seconds of what ran since the last step.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.steps: list[Mapping[str, float]] = []
        self.stages: list[Mapping[str, float]] = []
        self.rest: dict[str, float] = {}
        self._clock = clock
        self._updates: dict[str, float] = {}
        self._last = self._stage = 0.0

    def begin(self) -> None:
        """See `Marks`."""
        self._last = self._stage = self._clock()

    def done(self, part: str) -> None:
        """See `Marks`."""
        now = self._clock()
        self.rest[part] = self.rest.get(part, 0.0) + now - self._last
        if part == "metrics":
            self.steps.append(self.rest)
            self.stages.append(self._updates)
            self.rest, self._updates = {}, {}
        self._last = self._stage = now

    def take_rest(self) -> Mapping[str, float]:
        """What ran since the last step, and forget it."""
        found, self.rest = self.rest, {}
        return found

    def stage(self, name: str) -> None:
        """See `Marks`."""
        now = self._clock()
        self._updates[name] = self._updates.get(name, 0.0) + now - self._stage
        self._stage = now


class LayerSteps(StepClock):
    """The same with every layer of a model timed, too, until `close`.

    Attributes:
        costs: Of every step what its layers took.
        layers: The clock around them.
    """

    def __init__(self, clock: Callable[[], float], model: nn.Module) -> None:
        super().__init__(clock)
        self.layers = LayerClock(model, clock)
        self.costs: list[Mapping[Key, Cost]] = []

    def done(self, part: str) -> None:
        """See `Marks`."""
        super().done(part)
        self.layers.on = part == "input"
        if part == "metrics":
            self.costs.append(self.layers.end_step())

    def close(self) -> None:
        """Take every hook away."""
        self.layers.close()
