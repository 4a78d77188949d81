"""Early stopping as a pure function of the history: nothing to save, nothing to resume."""

from __future__ import annotations

from collections.abc import Sequence

from normlab.recipe.regularizers import EarlyStopping
from normlab.records import EpochRecord


def can_stop(rule: EarlyStopping, epochs: int) -> bool:
    """Whether the rule could end a training before its last epoch.

    The first epoch always improves, so a training of n epochs has n - 2 for the patience to run out
    in before the last one.
    """
    return rule.patience is not None and rule.patience <= epochs - 2


def is_stale(history: Sequence[EpochRecord], rule: EarlyStopping) -> bool:
    """Whether `patience` epochs have passed without an improvement of the metric.

    An improvement is a change by more than `min_delta` over the best value so far: down for the
    loss, up for all else. An epoch without a value is none.
    """
    if rule.patience is None:
        return False
    sign = -1.0 if rule.metric == "loss" else 1.0
    best, at = float("-inf"), 0
    for record in history:
        value = getattr(record, f"{rule.split}_{rule.metric}")
        if value is not None and sign * value > best + rule.min_delta:
            best, at = sign * value, record.epoch
    return len(history) - at >= rule.patience
