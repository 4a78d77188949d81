"""Classification metrics from a confusion matrix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Scores(NamedTuple):
    """Fractions of 1."""

    accuracy: float
    macro_f1: float
    micro_f1: float


def confusion(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts of (true class, predicted class), shape (K, K); labels and predictions (N,)."""
    pairs = labels * num_classes + predictions
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def scores(matrix: Tensor) -> Scores:
    """Accuracy and F1 scores of a confusion matrix (K, K).

    F1 of a class is 2 * hits / (images of the class + images called so). Macro F1 is its mean over
    the classes that occur, as a label or a prediction; micro F1 pools the counts of all classes,
    which with one label an image is the accuracy.
    """
    counts = matrix.double().cpu()
    hits, total = counts.diagonal(), counts.sum()
    either = counts.sum(dim=0) + counts.sum(dim=1)
    occurs = either > 0
    f1 = 2 * hits[occurs] / either[occurs]
    micro = float(2 * hits.sum() / either.sum())
    return Scores(accuracy=float(hits.sum() / total), macro_f1=float(f1.mean()), micro_f1=micro)
