"""All watchers of a trial together, as the training loop calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from normlab.augment import Pipeline
from normlab.recipe import Recipe
from normlab.records import Check
from normlab.train.liveness.augmentation import AugmentWatcher
from normlab.train.liveness.norms import NormWatcher
from normlab.train.liveness.precision import PrecisionWatcher
from normlab.train.liveness.randomness import RandomnessWatcher
from normlab.train.liveness.updates import GradientWatcher, UpdateWatcher
from normlab.train.liveness.watcher import Watcher


class Probe:
    """Watches one epoch of a training.

    Args:
        recipe: What was declared.
        model: The model that trains.
        augment: What is done to its images.
        norms: How many norms the recipe's model asked for.
        trained: The parameters the optimizer has, in all its groups.
        lr: The learning rate of the current step.
        state: What the optimizer remembers.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        augment: Pipeline,
        *,
        norms: int,
        trained: list[nn.Parameter],
        lr: Callable[[], float],
        state: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.watchers: tuple[Watcher, ...] = (
            NormWatcher(recipe, model, norms),
            GradientWatcher(model, trained),
            RandomnessWatcher(recipe, model),
            UpdateWatcher(recipe, model, lr),
            AugmentWatcher(recipe, augment),
            PrecisionWatcher(recipe.precision, model, state),
        )

    def batch(self, raw: Tensor, given: Tensor) -> None:
        """The step's images as they are stored, and as the model got them."""
        for watcher in self.watchers:
            watcher.batch(raw, given)

    def loss(self, loss: Tensor) -> None:
        """The step's loss, a scalar."""
        for watcher in self.watchers:
            watcher.loss(loss)

    def gradients(self) -> None:
        """Backward is done."""
        for watcher in self.watchers:
            watcher.gradients()

    def updated(self, stage: str) -> None:
        """A stage of the watched update is done."""
        for watcher in self.watchers:
            watcher.updated(stage)

    def ignore(self, stage: str) -> None:
        """A stage of an update that is not watched is done."""

    def evaluating(self) -> None:
        """The steps are done, evaluation begins."""
        for watcher in self.watchers:
            watcher.evaluating()

    def conclude(self, *, finite: bool) -> tuple[Check, ...]:
        """What all of them found.

        Args:
            finite: Whether the epoch's losses are. A training that diverges is a finding, and what
                it did with NaN is no proof that dropout was off.
        """
        return tuple(
            check
            if check.live or finite or not isinstance(watcher, RandomnessWatcher)
            else replace(check, live=True, found=f"{check.found}; not told: it diverged")
            for watcher in self.watchers
            for check in watcher.conclude()
        )

    def close(self) -> None:
        """Take away every hook."""
        for watcher in self.watchers:
            watcher.close()
