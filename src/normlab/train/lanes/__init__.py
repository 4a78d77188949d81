"""Independent trials of one shape, trained side by side in the vector lanes of one core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from normlab.data import Splits
from normlab.recipe import Recipe
from normlab.train.checkpoint import Checkpoint
from normlab.train.loop import EpochDone, Finished


@dataclass(frozen=True)
class Form:
    """What trials have in common that may train together: equal forms may."""

    name: str


@dataclass(frozen=True)
class GroupTrial:
    """A trial of a group.

    Attributes:
        recipe: What to train and how.
        seed: Of every random stream.
        splits: The images, scaled.
        resume: Where an earlier run of this trial stopped.
    """

    recipe: Recipe
    seed: int
    splits: Splits
    resume: Checkpoint | None = None


def form(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, n_train: int, device: str
) -> Form | str:
    """The form of a trial, or the sentence why it trains by itself, on torch's path.

    Args:
        recipe: The trial's.
        shape: (C, H, W) of an image.
        num_classes: Number of classes.
        n_train: Images it trains on.
        device: "cpu" or "cuda".
    """
    return "this version of normlab trains one trial at a time"


def size() -> int:
    """The most trials of a group on this processor."""
    return 1


def gain(form: Form, trials: int) -> float:
    """Seconds of a training step on torch's path by those of a trial in a group of so many."""
    return 1.0


def train_group(
    trials: Sequence[GroupTrial], *, device: str = "cpu", probes: bool = True
) -> Iterator[tuple[int, EpochDone | Finished | Exception]]:
    """Train trials of one form together.

    Yields:
        The index of a trial with its event; an exception ends that trial alone. After each epoch
        of the group every trial that is still on gives its `EpochDone`, whose checkpoint shares
        memory: use it before the next event of that trial.
    """
    raise NotImplementedError
