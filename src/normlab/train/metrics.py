"""Classification metrics: from a confusion matrix, and of confidences."""

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


def expected_calibration_error(confidences: Tensor, correct: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, over equal bins (Guo et al. 2017).

        ECE = sum over bins of n_bin / n * |accuracy_bin - confidence_bin|

    Args:
        confidences: Probability of the predicted class of each image, (N,); NaN gives NaN.
        correct: Whether the prediction was right, (N,).
        bins: Number of equal parts of (0, 1]; an upper edge belongs to the bin below it.
    """
    if not bool(confidences.isfinite().all()):
        return float("nan")
    place = (confidences.double() * bins).ceil().long().clamp(1, bins) - 1
    gap = correct.double() - confidences.double()
    sums = torch.zeros(bins, dtype=torch.float64, device=gap.device).index_add_(0, place, gap)
    return float(sums.abs().sum() / len(gap))
