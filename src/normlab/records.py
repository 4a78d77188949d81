"""What one training reports: a record per epoch, then a result. Plain numbers, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch of one trial.

    Accuracies and F1 scores are fractions of 1; losses are means over images; a validation
    field is None where the recipe keeps no validation split, and a loss is None where it is
    not a finite number. The training metrics are running ones: each batch is scored before
    its own update, in training mode.
    """

    epoch: int
    """1 for the first."""
    lr: float
    """Learning rate of the epoch's last step."""
    train_loss: float | None
    train_accuracy: float
    train_macro_f1: float
    train_micro_f1: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_macro_f1: float | None
    validation_micro_f1: float | None
    test_loss: float | None
    test_accuracy: float
    test_macro_f1: float
    test_micro_f1: float
    seconds: float
    """Wall time of the training steps, evaluation left out."""
    examples_per_second: float


TrialState = Literal["pending", "running", "complete", "diverged", "invalid", "failed"]
"""`diverged` is a finding, kept with its history; `invalid` counts for nothing; `failed` is ours
to mend."""

FINISHED: frozenset[TrialState] = frozenset({"complete", "diverged", "invalid"})
"""States that are never run again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """How one training ended."""

    state: Literal["complete", "diverged"]
    epochs: int
    """Epochs trained, the diverged one included."""
    parameters: int
    weights_sha256: str
    """Hash over every parameter and buffer, in the order of their names."""
    train_images: int
    validation_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that belongs to a trial; `path` is relative to the study's folder."""

    kind: str
    path: str
    sha256: str
    bytes: int
