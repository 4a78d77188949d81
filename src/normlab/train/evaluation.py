"""Scoring a model in eval mode: loss, scores, calibration, and what it says of each image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.records import Evaluation
from normlab.train.metrics import confusion, expected_calibration_error, scores

BATCH = 1000
"""Images scored at a time."""


@dataclass(frozen=True)
class Evaluated:
    """A split's scores, and for each image the class predicted and its probability, (N,) each."""

    scores: Evaluation
    predictions: Tensor
    confidences: Tensor


@torch.no_grad()
def evaluate(
    forward: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    num_classes: int,
) -> Evaluated | None:
    """Score a split; None of an empty one.

    Args:
        forward: Images (N, C, H, W) to logits (N, K), in eval mode.
        loss: (logits, labels) to the mean over images; plain, without smoothing or mixing.
        inputs: (N, C, H, W).
        labels: (N,).
        num_classes: K.
    """
    if not len(labels):
        return None
    loss_sum = 0.0
    predictions = torch.empty_like(labels)
    confidences = torch.empty(len(labels), device=labels.device)
    for first in range(0, len(labels), BATCH):
        part = slice(first, first + BATCH)
        logits = forward(inputs[part])
        loss_sum += float(loss(logits, labels[part])) * len(logits)
        confidences[part], predictions[part] = logits.float().softmax(dim=1).max(dim=1)
    found = scores(confusion(labels, predictions, num_classes))
    error = expected_calibration_error(confidences, predictions == labels)
    evaluation = Evaluation(
        loss=finite(loss_sum / len(labels)),
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        micro_f1=found.micro_f1,
        ece=finite(error),
    )
    return Evaluated(evaluation, predictions, confidences)


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return value if math.isfinite(value) else None
