"""What crosses packages: the plan of a study, and what each training reports. No torch."""

from normlab.records.training import (
    FINISHED,
    Artifact,
    Check,
    EpochRecord,
    Evaluation,
    TrialResult,
    TrialState,
)

__all__ = [
    "FINISHED",
    "Artifact",
    "Check",
    "EpochRecord",
    "Evaluation",
    "TrialResult",
    "TrialState",
]
