"""Scoring a model in eval mode: loss, scores, calibration, and what it says of each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.records import Evaluation
from normlab.train.metrics import confusion, expected_calibration_error, scores

BATCH = 256
"""Images scored at a time: few enough for their maps to stay in a core's cache, enough to read the
weights seldom.

Seconds over those of the best size from 16 to 2048, forward of one thread on an EPYC, over the
bundled models, both layouts, two runs (`benchmarks/loop.py`): 1.0 to 1.2 at 256 images, 1.0 to 1.7
at 1000 and 1.0 to 2.1 at 64. inference_mode gains nothing to be seen over no_grad, and a tensor
that a model keeps from it could not be trained with.
"""


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
    losses, counts = [], []  # on the device until the end: a GPU is never waited for
    predictions = torch.empty_like(labels)
    confidences = torch.empty(len(labels), device=labels.device)
    for first in range(0, len(labels), BATCH):
        part = slice(first, first + BATCH)
        logits = forward(inputs[part])
        losses.append(loss(logits, labels[part]))
        counts.append(len(logits))
        confidences[part], predictions[part] = logits.float().softmax(dim=1).max(dim=1)
    found = scores(confusion(labels, predictions, num_classes))
    error = expected_calibration_error(confidences, predictions == labels)
    evaluation = Evaluation(
        loss=finite(mean_loss(losses, counts)),
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        micro_f1=found.micro_f1,
        ece=finite(error),
    )
    return Evaluated(evaluation, predictions, confidences)


def mean_loss(losses: Sequence[Tensor], counts: Sequence[int]) -> float:
    """Mean over images of the means of batches.

    Args:
        losses: A scalar per batch, all on one device.
        counts: Images of each batch.
    """
    means = torch.stack(list(losses)).double()
    weights = torch.tensor(counts, dtype=torch.float64, device=means.device)
    return float(means @ weights) / sum(counts)


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return value if math.isfinite(value) else None
