"""What crosses packages: the plan of a study, and what each training reports. No torch."""

from normlab.records.training import (
    FINISHED,
    UNFINISHED,
    Artifact,
    Check,
    EpochRecord,
    Evaluation,
    TrialResult,
    TrialState,
)

__all__ = [
    "FINISHED",
    "UNFINISHED",
    "Artifact",
    "Check",
    "EpochRecord",
    "Evaluation",
    "TrialResult",
    "TrialState",
]
