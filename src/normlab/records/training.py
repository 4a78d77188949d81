"""What one training reports: a record per epoch, then a result. Plain numbers, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch of one trial.

    Accuracies and F1 scores are fractions of 1; losses are means over images; a validation
    field is None where the recipe keeps no validation split, and a loss is None where it is
    not a finite number. The training metrics are running ones: each batch is scored before
    its own update, in training mode. Where images are mixed they mean nothing and are None, but
    for the loss.
    """

    epoch: int
    """1 for the first."""
    lr: float
    """Learning rate of the epoch's last step."""
    train_loss: float | None
    train_accuracy: float | None
    train_macro_f1: float | None
    train_micro_f1: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    validation_macro_f1: float | None
    validation_micro_f1: float | None
    test_loss: float | None
    test_accuracy: float
    test_macro_f1: float
    test_micro_f1: float
    seconds: float
    """Wall time of the training steps, evaluation left out. Where trials train together, the share
    of each: that of the group by their number."""
    examples_per_second: float
    validation_ece: float | None = None
    """Expected calibration error, 15 equal bins (Guo et al. 2017)."""
    test_ece: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """Diagnostics by name; see `normlab.train.diagnostics`."""


TrialState = Literal["pending", "running", "complete", "diverged", "invalid", "failed"]
"""`diverged` is a finding, kept with its history; `invalid` does not count; `failed` can be
retried."""

FINISHED: frozenset[TrialState] = frozenset({"complete", "diverged", "invalid"})
"""States that are never run again."""
UNFINISHED: frozenset[TrialState] = frozenset({"pending", "running"})
"""States of trials that are still to come to an end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Whether one declared intervention was on in the real training; see `normlab.train.liveness`.

    Attributes:
        name: The recipe key it is about.
        declared: What the recipe says, in words.
        found: What the training did, in words.
        live: Whether the two agree.
        acted: Whether it ever changed anything, where that hangs on the training: a limit may never
            be reached. None where it is not told. It makes no trial invalid.
    """

    name: str
    declared: str
    found: str
    live: bool
    acted: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A split scored in eval mode; accuracies are fractions of 1, None of what is not finite."""

    loss: float | None
    accuracy: float
    macro_f1: float
    micro_f1: float
    ece: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """How one training ended."""

    state: Literal["complete", "diverged", "invalid"]
    reason: str | None = None
    """Why the trial is invalid."""
    checks: tuple[Check, ...] = ()
    """Every declared intervention, with what was found."""
    epochs: int
    """Epochs trained, the diverged one included."""
    parameters: int
    weights_sha256: str
    """Hash over every parameter and buffer, in the order of their names."""
    train_images: int
    validation_images: int
    test_images: int
    stopped_early: bool = False
    final_train: Evaluation | None = None
    """The training images, as they are, scored by the final weights in eval mode."""
    flops: int | None = None
    """Of one image's forward pass: two for each multiplication with its addition."""
    peak_memory: int | None = None
    """Bytes: on a GPU those allocated at most during the trial; on a CPU the largest resident
    size of the process so far. Of trials that trained together, each one's share."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that belongs to a trial; `path` is relative to the study's folder."""

    kind: str
    path: str
    sha256: str
    bytes: int
